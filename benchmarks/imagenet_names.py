"""The names of ImageNet's thousand classes and the words above them, as `src/miras/model/imagenet.json`.

    python benchmarks/imagenet_names.py WORDNET IDS > src/miras/model/imagenet.json

WORDNET: the folder of WordNet 3.0 with `data.noun` (Debian: wordnet-base). IDS: a file with the thousand ids in the
classifier's order, `n01440764` first (`imagenet_synsets.txt` of timm); each id is an offset into `data.noun`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from miras.data.language import knowledge

MOST = 200
"""Classes that a word may cover: "artifact" says nothing."""


class Nouns:
    """Synsets of WordNet by offset."""

    def __init__(self, file: Path) -> None:
        self.data = file.read_bytes()

    def words(self, offset: int) -> list[str]:
        """Words and phrases of a synset."""
        fields = self._fields(offset)
        return [word.replace("_", " ") for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]

    def above(self, offset: int) -> set[int]:
        """All hypernyms."""
        found: set[int] = set()
        left = [offset]
        while left:
            fields = self._fields(left.pop())
            pointers = fields[4 + 2 * int(fields[3], 16) :]
            for kind, target, part in zip(pointers[1::4], pointers[2::4], pointers[3::4], strict=False):
                if kind in ("@", "@i") and part == "n" and int(target) not in found:
                    found.add(int(target))
                    left.append(int(target))
        return found

    def _fields(self, offset: int) -> list[str]:
        return self.data[offset : self.data.index(b"\n", offset)].decode().partition(" | ")[0].split()


def main() -> None:
    nouns = Nouns(Path(sys.argv[1]) / "data.noun")
    offsets = [int(line[1:]) for line in Path(sys.argv[2]).read_text().split()]
    entries = knowledge.load().entries.values()
    called = {name.lower() for entry in entries for name in (entry.phrase, *entry.also)}
    names, words, covered = [], [], {}
    for number, offset in enumerate(offsets):
        lemmas = nouns.words(offset)
        names.append(next((lemma for lemma in lemmas if lemma.lower() in called), lemmas[0]))
        words += [(lemma, (number,)) for lemma in lemmas]
        for hypernym in nouns.above(offset):
            covered.setdefault(hypernym, []).append(number)
    for hypernym, below in sorted(covered.items()):
        if len(below) <= MOST:
            words += [(word, below) for word in nouns.words(hypernym)]
    print(json.dumps({"source": "WordNet 3.0, Princeton University", "names": names, "words": words}))


if __name__ == "__main__":
    main()
