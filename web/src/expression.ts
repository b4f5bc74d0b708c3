// The selection as an expression over region ids: "(1 + 2) - 3", "1 & 2" where both are, "~1" for all but region 1: read,
// changed, written. As core/expression.py.

export type Token = { kind: "region"; id: number } | { kind: "sign"; text: string };
export type Sign = "+" | "-" | "&";
export type Pair = { kind: "pair"; sign: Sign; left: Node; right: Node };
export type Node = { kind: "region"; id: number } | { kind: "not"; of: Node } | Pair;
/** A piece of an expression as it is written; node: what it stands for, null for a bracket. */
export interface Part { text: string; node: Node | null }

/** Numbers and signs in their order. Throws SyntaxError for another letter. */
export function tokens(expression: string): Token[] {
  const found: Token[] = [];
  for (const [part] of expression.matchAll(/\d+|\S/g)) {
    if (/^\d/.test(part)) found.push({ kind: "region", id: Number(part) });
    else if ("+-&~()".includes(part)) found.push({ kind: "sign", text: part });
    else throw new SyntaxError(`expected numbers, + - & ~ and brackets, got ${part}`);
  }
  return found;
}

/** The tree of an expression; null = nothing is selected. `~` binds closest; the others go from left to right. */
export function parse(expression: string): Node | null {
  const list = tokens(expression);
  if (list.length === 0) return null;
  let at = 0;
  const sign = (): string => {
    const next = list[at];
    return next?.kind === "sign" ? next.text : "";
  };
  const term = (): Node => {
    const next = list[at++];
    if (next?.kind === "region") return next;
    if (next?.text === "~") return { kind: "not", of: term() };
    if (next?.text !== "(") throw new SyntaxError("expected a number, ~ or (");
    const inner = sum();
    if (sign() !== ")") throw new SyntaxError("expected )");
    at++;
    return inner;
  };
  const sum = (): Node => {
    let left = term();
    for (let next = sign(); next === "+" || next === "-" || next === "&"; next = sign()) {
      at++;
      left = { kind: "pair", sign: next, left, right: term() };
    }
    return left;
  };
  const tree = sum();
  if (at < list.length) throw new SyntaxError("expected the end of the expression");
  return tree;
}

/** An expression in pieces, in the one spelling that the server writes. */
export function parts(node: Node | null): Part[] {
  if (node === null) return [];
  if (node.kind === "region") return [{ text: String(node.id), node }];
  const closed = (inner: Node): Part[] => (inner.kind === "pair" ? [{ text: "(", node: null }, ...parts(inner), { text: ")", node: null }] : parts(inner));
  if (node.kind === "not") return [{ text: "~", node }, ...closed(node.of)];
  const { left, sign } = node;
  const chained = left.kind === "pair" && left.sign === sign && sign !== "-";
  return [...(chained ? parts(left) : closed(left)), { text: sign, node }, ...closed(node.right)];
}

export const write = (node: Node | null): string =>
  parts(node).map(({ text }) => ("+-&".includes(text) ? ` ${text} ` : text)).join("");

/** The expression with another part in the place of one of its own; null takes it out, with what was done to it alone. */
export function replace(root: Node, old: Node, by: Node | null): Node | null {
  if (root === old) return by;
  if (root.kind === "region") return root;
  if (root.kind === "not") {
    const of = replace(root.of, old, by);
    return of && { kind: "not", of };
  }
  const [left, right] = [replace(root.left, old, by), replace(root.right, old, by)];
  if (left === null) return root.sign === "-" ? null : right;
  return right === null ? left : { ...root, left, right };
}

/** All but it; of all but something, that. */
export const inverted = (node: Node): Node => (node.kind === "not" ? node.of : { kind: "not", of: node });

/** For each region whether its last mention selects it (true) or leaves it out, in the order of these mentions. */
export function signs(expression: string): Map<number, boolean> {
  const found = new Map<number, boolean>();
  const walk = (node: Node | null, selected: boolean): void => {
    if (node === null) return;
    if (node.kind === "not") walk(node.of, !selected);
    else if (node.kind === "pair") {
      walk(node.left, selected);
      walk(node.right, selected === (node.sign !== "-"));
    } else {
      found.delete(node.id);
      found.set(node.id, selected);
    }
  };
  walk(parse(expression), true);
  return found;
}

/** The expression in words, to be read aloud: "cup plus spoon, without handle". */
export function spoken(expression: string, name: (id: number) => string): string {
  const words: Record<string, string> = { "+": "plus", "-": "without", "&": "within", "~": "all but", "(": "", ")": "" };
  const parts = tokens(expression).map((token) => (token.kind === "region" ? name(token.id) : (words[token.text] ?? "")));
  return parts.filter((part) => part !== "").join(" ") || "nothing";
}
