// As core/selection.py reads the same expressions.
import { expect, test } from "vitest";
import { type Node, inverted, parse, parts, replace, signs, spoken, tokens, write as spelt } from "../src/expression";

const write = (node: Node | null): string => {
  if (node === null) return "";
  if (node.kind === "region") return String(node.id);
  return node.kind === "not" ? `~${write(node.of)}` : `(${write(node.left)}${node.sign}${write(node.right)})`;
};

test.each([
  ["", "", []],
  ["1", "1", [[1, true]]],
  ["1 + 2", "(1+2)", [[1, true], [2, true]]],
  ["1 - 2 + 3", "((1-2)+3)", [[1, true], [2, false], [3, true]]],
  ["(1 + 2) - 3", "((1+2)-3)", [[1, true], [2, true], [3, false]]],
  ["~1", "~1", [[1, false]]],
  ["~(1 - 2)", "~(1-2)", [[1, false], [2, true]]],
  ["~~4", "~~4", [[4, true]]],
  ["1 - (2 - 12)", "(1-(2-12))", [[1, true], [2, false], [12, true]]],
  ["~1 + 2", "(~1+2)", [[1, false], [2, true]]],
  ["1 - 2 + 1", "((1-2)+1)", [[2, false], [1, true]]],
  ["1 & 2", "(1&2)", [[1, true], [2, true]]],
  ["1 & (2 - 3)", "(1&(2-3))", [[1, true], [2, true], [3, false]]],
])("%s", (text, tree, said) => {
  expect(write(parse(text))).toBe(tree);
  expect([...signs(text)]).toEqual(said);
});

test.each(["1 +", "(1", "1 2", "1 | 2", ")", "~"])("refuses %s", (text) => expect(() => parse(text)).toThrow(SyntaxError));

test("tokens are what is shown", () =>
  expect(tokens("(1 + 20) - 3").map((token) => (token.kind === "region" ? token.id : token.text))).toEqual(["(", 1, "+", 20, ")", "-", 3]));

test("words to be read aloud", () => {
  const name = (id: number): string => ["", "cup", "spoon", "handle"][id]!;
  expect(spoken("(1 + 2) - 3", name)).toBe("cup plus spoon without handle");
  expect(spoken("~1", name)).toBe("all but cup");
  expect(spoken("", name)).toBe("nothing");
});

test.each([
  ["1+2+3", "1 + 2 + 3"], ["1&2&3", "1 & 2 & 3"], ["1-2-3", "(1 - 2) - 3"], ["1+2&3", "(1 + 2) & 3"], ["1+(2+3)", "1 + (2 + 3)"],
  ["~(1)", "~1"], ["~(1+2)-3", "~(1 + 2) - 3"], ["~~1", "~~1"], ["", ""],
])("%s is spelt %s", (text, written) => expect(spelt(parse(text))).toBe(written));

// Which part (by its place among all, from 0) is replaced: by nothing, by its inverse, by a pair of another sign.
test.each([
  ["1 + 2", 0, null, "2"], ["1 + 2", 2, null, "1"], ["1 & 2", 0, null, "2"], ["1 - 2", 2, null, "1"], ["1 - 2", 0, null, ""],
  ["(1 - 2) + 3", 1, null, "3"], ["(1 + 2) - 3", 1, null, "2 - 3"], ["~1", 1, null, ""], ["~1 + 2", 1, null, "2"], ["1", 0, null, ""],
  ["1 + 2", 2, "not", "1 + ~2"], ["~(1 + 2)", 0, "not", "1 + 2"], ["1 + 1", 2, "not", "1 + ~1"],
  ["1 + 2", 1, "&", "1 & 2"], ["(1 + 2) - 3", 5, "+", "1 + 2 + 3"], ["(1 + 2) - 3", 2, "-", "(1 - 2) - 3"], ["1 + 2 + 3", 3, "&", "(1 + 2) & 3"],
] as const)("%s: part %i becomes %s: %s", (text, at, by, after) => {
  const root = parse(text)!;
  const node = parts(root)[at]!.node!;
  const fresh = by === null ? null : by === "not" ? inverted(node) : node.kind === "pair" ? { ...node, sign: by } : node;
  expect(spelt(replace(root, node, fresh))).toBe(after);
});
