import { expect, test } from "vitest";
import { EventReader, type ServerEvent } from "../src/sse";

const STREAM = ': ping\n\nevent: queue\ndata: {"position": 0}\n\nevent: text\ndata: {"text": "caf\u00e9: a"}\n\ndata:one\ndata: two\n\nevent: reply\ndata: {}\n\n';
const EVENTS: ServerEvent[] = [
  { event: "queue", data: '{"position": 0}' },
  { event: "text", data: '{"text": "caf\u00e9: a"}' },
  { event: "message", data: "one\ntwo" },
  { event: "reply", data: "{}" },
];

test.each([1, 2, 3, 7, 1000])("in pieces of %i letters", (length) => {
  for (const text of [STREAM, STREAM.replaceAll("\n", "\r\n"), STREAM.replaceAll("\n", "\r")]) {
    const reader = new EventReader();
    const found: ServerEvent[] = [];
    for (let at = 0; at < text.length; at += length) found.push(...reader.push(text.slice(at, at + length)));
    if (text.endsWith("\r")) found.push(...reader.push("\n"));
    expect(found).toEqual(EVENTS);
  }
});

test("an event without its empty line is not whole", () => expect(new EventReader().push('event: reply\ndata: {"turn": 1}\n')).toEqual([]));
test("an event without data is none", () => expect(new EventReader().push("event: reply\n\n")).toEqual([]));
