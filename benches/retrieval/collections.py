"""Judged collections for the retrieval benchmark, and plain BM25 on them to compare with.

    collections.py prepare CLONES FOLDER    from clones of the repositories named below to the BEIR layout
    collections.py baseline FOLDER          nDCG@10 of bm25s (needs bm25s and PyStemmer)

CLONES holds clones (`git clone --depth 1`) of these public GitHub repositories, each under its own name:
lailaglez/belief-network-irs (MED), PsychoProg/tf-idf (CISI), kavinsan/Information-Retrieval-Project (CACM),
stefreschke/Information-Retrieval (NPL), sumithra-p-v/claimverifier (SciFact), pulakdas1999/QnA_using_BERT
(SQuAD 1.1), google-deepmind/xquad (XQuAD).
"""

import ast
import csv
import io
import json
import math
import re
import sys
import zipfile
from pathlib import Path

LANGUAGES = {"de": "german", "es": "spanish", "ru": "russian", "tr": "turkish"}


def write(folder, documents, questions, judgements):
    """One collection: documents are (id, title, text), questions (id, text), judgements (question, document)."""
    documents = list(documents)
    known = {document[0] for document in documents}
    judgements = sorted({pair for pair in judgements if pair[1] in known})
    asked = {question for question, _ in judgements}
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    lines = [dict(zip(("_id", "title", "text", "document"), document)) for document in documents]
    dump(folder / "corpus.jsonl", lines)
    dump(folder / "queries.jsonl", [{"_id": key, "text": text} for key, text in questions if key in asked])
    rows = [f"{question}\t{document}\t1\n" for question, document in judgements]
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))
    print(folder.name, len(documents), "documents", len(asked), "questions", len(judgements), "judgements")


def dump(file, records):
    file.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def smart(file):
    """Records of the SMART format: `.I number`, then fields such as `.T` (title) and `.W` (text)."""
    for record in re.split(r"^\.I ", file.read_text(errors="replace"), flags=re.M)[1:]:
        number, _, rest = record.partition("\n")
        parts = re.split(r"^\.([A-Z])[ \t]*$", rest, flags=re.M)
        fields = {}
        for name, value in zip(parts[1::2], parts[2::2]):
            fields[name] = " ".join((fields.get(name, "") + " " + value).split())
        yield number.strip(), fields


def smart_documents(file):
    return [(key, fields.get("T", ""), fields.get("W", "")) for key, fields in smart(file)]


def smart_questions(file):
    return [(key, f"{fields.get('T', '')} {fields.get('W', '')}".strip()) for key, fields in smart(file)]


def pairs(file, document):
    """Judgements, one a line: the question's number first, the document's in this column."""
    rows = (line.split() for line in file.read_text().splitlines())
    return [(str(int(row[0])), str(int(row[document]))) for row in rows if row]


def slashed(file):
    """Records of the NPL files: a number, then text, ended by a slash alone on its line."""
    for record in re.split(r"\n\s*/\s*\n", file.read_text() + "\n"):
        number, *words = record.split() or [""]
        if number.isdigit():
            yield number, " ".join(words)


def scifact(archive, folder):
    """The claims of the development set, each with the abstracts that it cites."""
    csv.field_size_limit(10**9)
    rows = lambda name: csv.DictReader(io.TextIOWrapper(archive.open(name), encoding="utf-8"))
    # Sentences stand there as a printed array: no commas between them.
    sentences = lambda printed: ast.literal_eval(re.sub(r"""(['"])\n (['"])""", r"\1,\n \2", printed))
    documents = [
        (row["doc_id"], row["title"], " ".join(sentence.strip() for sentence in sentences(row["abstract"])))
        for row in rows("corpus_train.csv")
    ]
    claims = list(rows("claims_validation.csv"))
    cited = [(row["id"], document) for row in claims for document in re.findall(r"\d+", row["cited_doc_ids"])]
    write(folder, documents, {row["id"]: row["claim"] for row in claims}.items(), cited)


def paragraphs(articles, folder, apart):
    """Questions over articles, to be answered by a paragraph, which is a document by itself or one of its article."""
    documents, questions, judgements = [], [], []
    for number, article in articles:
        for place, paragraph in enumerate(article["paragraphs"]):
            key = f"{number}-{place}"
            of = () if apart else (str(number),)
            documents.append((key, article["title"].replace("_", " "), paragraph["context"], *of))
            for asked in paragraph["qas"]:
                questions.append((asked["id"], asked["question"].strip()))
                judgements.append((asked["id"], key))
    write(folder, documents, questions, judgements)


def prepare(clones, folder):
    med, cisi = clones / "belief-network-irs/med", clones / "tf-idf"
    cacm, npl = clones / "Information-Retrieval-Project", clones / "Information-Retrieval/npl"
    sets = {
        "med": (med / "MED.ALL", med / "MED.QRY", pairs(med / "MED.REL", 1)),
        "cisi": (cisi / "CISI.ALL", cisi / "CISI.QRY", pairs(cisi / "CISI.REL", 1)),
        "cacm": (cacm / "cacm.all", cacm / "query.text", pairs(cacm / "qrels.text", 1)),
    }
    for name, (documents, questions, judgements) in sets.items():
        write(folder / name, smart_documents(documents), smart_questions(questions), judgements)
    documents = [(key, "", text) for key, text in slashed(npl / "doc-text")]
    questions = [(key, text.lower()) for key, text in slashed(npl / "query-text")]
    judged = [(key, document) for key, text in slashed(npl / "rlv-ass") for document in text.split()]
    write(folder / "npl", documents, questions, judged)
    scifact(zipfile.ZipFile(clones / "claimverifier/data/scifact.zip"), folder / "scifact")
    squad = json.loads(zipfile.ZipFile(clones / "QnA_using_BERT/dev-v1.1.json.zip").read("dev-v1.1.json"))["data"]
    for rest, name in enumerate(("even", "odd")):
        half = [(number, article) for number, article in enumerate(squad) if number % 2 == rest]
        paragraphs(half, folder / f"squad-{name}", True)
        paragraphs(half, folder / f"squad-{name}-articles", False)
    for code in LANGUAGES:
        articles = json.loads((clones / f"xquad/xquad.{code}.json").read_text())["data"]
        paragraphs(enumerate(articles), folder / f"xquad-{code}", True)


def baseline(folder):
    import bm25s
    import Stemmer

    code = folder.name[-2:] if folder.name.startswith("xquad-") else "en"
    settings = {"stopwords": code, "stemmer": Stemmer.Stemmer(LANGUAGES.get(code, "english")), "show_progress": False}
    read = lambda name: [json.loads(line) for line in (folder / name).read_text().split("\n") if line]
    documents, grades = read("corpus.jsonl"), {}
    for line in (folder / "qrels/test.tsv").read_text().splitlines()[1:]:
        question, document, grade = line.split("\t")
        if float(grade) > 0:
            grades.setdefault(question, {})[document] = float(grade)
    questions = [question for question in read("queries.jsonl") if question["_id"] in grades]
    index = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
    texts = [f"{document['title']} {document['text']}" for document in documents]
    index.index(bm25s.tokenize(texts, **settings), show_progress=False)
    asked = bm25s.tokenize([question["text"] for question in questions], **settings)
    found, _ = index.retrieve(asked, k=10, show_progress=False)
    gain = lambda grades: sum(grade / math.log2(rank + 2) for rank, grade in enumerate(grades[:10]))
    total = 0.0
    for question, row in zip(questions, found):
        judged = grades[question["_id"]]
        gains = [judged.get(documents[place]["_id"], 0.0) for place in row]
        total += gain(gains) / gain(sorted(judged.values(), reverse=True))
    print(json.dumps({"collection": folder.name, "mode": "bm25s", "ndcg_at_10": total / len(questions)}), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prepare", clones, folder]:
            prepare(Path(clones), Path(folder))
        case ["baseline", folder]:
            for found in sorted(Path(folder).glob("*/corpus.jsonl")):
                baseline(found.parent)
        case _:
            sys.exit(__doc__)
