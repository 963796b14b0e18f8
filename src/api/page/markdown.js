// Markdown of answers as nodes. marked reads it into tokens; here each kind of token that answers may have becomes an
// element of a closed set, and everything else, HTML above all, becomes text. Nothing is loaded: an image is a link.
import { Lexer } from "./marked.js";
import { html } from "./ui.js";

/** Deeper nesting is shown as it was written. */
const DEEPEST = 12;
const LINKS = ["http:", "https:", "mailto:"];

function target(href) {
  try {
    const url = new URL(href);
    return LINKS.includes(url.protocol) ? url.href : undefined;
  } catch {
    return undefined;
  }
}

/** A walk over the tokens of one text; `cite(n)` gives the node of the citation n, or nothing. */
class Walk {
  constructor(cite) {
    this.cite = cite;
    this.depth = 0;
  }

  all(tokens = []) {
    if (this.depth >= DEEPEST) return tokens.map((token) => token.raw).join("");
    this.depth += 1;
    const nodes = tokens.map((token) => this.one(token));
    this.depth -= 1;
    return nodes;
  }

  inside(token) {
    return token.tokens ? this.all(token.tokens) : this.text(token.text);
  }

  /** Text with the marks of citations in it. */
  text(text) {
    const parts = text.split(/\[(\d{1,3})\]/);
    return parts.map((part, at) => (at % 2 ? (this.cite(Number(part)) ?? `[${part}]`) : part));
  }

  link(href, label) {
    const safe = target(href);
    return safe ? html`<a href=${safe} target="_blank" rel="noopener noreferrer nofollow">${label}</a>` : label;
  }

  cells(Tag, cells) {
    return cells.map((cell) => html`<${Tag} class=${cell.align ?? ""}>${this.all(cell.tokens)}<//>`);
  }

  list({ ordered, start, items }) {
    const inner = items.map((item) => html`<li>${this.all(item.tokens)}</li>`);
    return ordered ? html`<ol start=${start || 1}>${inner}</ol>` : html`<ul>${inner}</ul>`;
  }

  one(token) {
    switch (token.type) {
      case "space":
      case "def":
        return null;
      case "heading":
        // The page has headings of its own above these.
        return html`<p class="heading">${this.all(token.tokens)}</p>`;
      case "paragraph":
        return html`<p>${this.all(token.tokens)}</p>`;
      case "text":
        return this.inside(token);
      case "escape":
        return token.text;
      case "strong":
        return html`<strong>${this.all(token.tokens)}</strong>`;
      case "em":
        return html`<em>${this.all(token.tokens)}</em>`;
      case "del":
        return html`<del>${this.all(token.tokens)}</del>`;
      case "codespan":
        return html`<code>${token.text}</code>`;
      case "code":
        return html`<pre tabindex="0"><code>${token.text}</code></pre>`;
      case "blockquote":
        return html`<blockquote>${this.all(token.tokens)}</blockquote>`;
      case "list":
        return this.list(token);
      case "checkbox":
        return token.checked ? "\u2611 " : "\u2610 ";
      case "table":
        return html`<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>
          <thead><tr>${this.cells("th", token.header)}</tr></thead>
          <tbody>${token.rows.map((row) => html`<tr>${this.cells("td", row)}</tr>`)}</tbody>
        </table></div>`;
      case "link":
        return (/^\d{1,3}$/.test(token.text) && this.cite(Number(token.text))) || this.link(token.href, this.inside(token));
      case "image":
        return this.link(token.href, token.text || token.href);
      case "hr":
        return html`<hr />`;
      case "br":
        return html`<br />`;
      default:
        return token.raw;
    }
  }
}

/** The nodes of a text; one that can't be read as Markdown is shown as it is. */
export function Markdown({ text, cite = () => undefined }) {
  let nodes;
  try {
    nodes = new Walk(cite).all(new Lexer({ gfm: true }).lex(text));
  } catch {
    nodes = html`<p class="asis">${text}</p>`;
  }
  return html`<div class="prose">${nodes}</div>`;
}
