// The document that a newcomer can take in with one click, and questions that it answers.

export const SAMPLE = {
  title: "How ragq works",
  source: "sample.md",
  collection: "sample",
  text: `# How ragq works

ragq answers questions over a team's documents through a durable queue. Nothing that it has accepted is lost, whatever
the model provider, the workers or the machines do.

## What happens to a question

A question is stored before it is accepted, and becomes a job. A worker picks the job up, finds the passages that fit
the question, and lets the model answer from them. Each claim of the answer cites its passage by a number in brackets.
Click on the number to read the passage in its document. If no passage fits, the answer says so and the model is not
asked at all.

A question that waits can be cancelled at any time. A call to the provider that is under way is closed within a second.
You may also close the page: the question is worked on all the same, and the answer is there when you come back.

## What happens to a document

A file that you upload becomes a job of the same queue. It is read in a process of its own, under limits of time and
memory, cut into chunks along its headings and paragraphs, and put into the index. It can be found as soon as its job is
completed. When you upload a changed file under the same name, its new chunks replace all of the old ones in one step.
Markdown, plain text, HTML, PDF and Word files can be read. A scanned page has no text in it and is refused as empty.

Documents live in collections. A question that names a collection looks only there; one that names none looks in all.

## What happens when the model provider fails

A lost connection or a server error uses an attempt, and the job is tried again after a growing, random wait. A rate
limit or an outage uses no attempt: the job is deferred and goes on when the provider is back. A failure that can never
succeed, such as a question that is too long for the model, ends the job at once. A job that has used up all its attempts
becomes a dead letter, which the operator can look at, edit and replay.

## What happens when a worker dies

Its lease runs out after 15 seconds, and the job is handed to another worker. A lost lease does not use an attempt. After
three lost leases the job becomes a dead letter, since a job that takes its workers down must not do so for ever.

## How long answers are kept

Completed and cancelled jobs are kept for 24 hours, dead letters for 14 days. Documents stay until they are deleted.
`,
};

export const QUESTIONS = [
  "What happens when a worker dies?",
  "What happens when the model provider fails?",
  "How long are answers kept?",
];
