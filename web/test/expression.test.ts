// As core/selection.py reads the same expressions.
import { expect, test } from "vitest";
import { type Node, parse, signs, spoken, tokens } from "../src/expression";

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
])("%s", (text, tree, said) => {
  expect(write(parse(text))).toBe(tree);
  expect([...signs(text)]).toEqual(said);
});

test.each(["1 +", "(1", "1 2", "1 & 2", ")", "~"])("refuses %s", (text) => expect(() => parse(text)).toThrow(SyntaxError));

test("tokens are what is shown", () =>
  expect(tokens("(1 + 20) - 3").map((token) => (token.kind === "region" ? token.id : token.text))).toEqual(["(", 1, "+", 20, ")", "-", 3]));

test("words to be read aloud", () => {
  const name = (id: number): string => ["", "cup", "spoon", "handle"][id]!;
  expect(spoken("(1 + 2) - 3", name)).toBe("cup plus spoon without handle");
  expect(spoken("~1", name)).toBe("all but cup");
  expect(spoken("", name)).toBe("nothing");
});
