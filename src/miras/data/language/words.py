"""Small rules of English that the templates need: number, articles, left and right.

In: phrases. Out: phrases. Knows no template and no annotation.
"""

from __future__ import annotations

import re

_SINGULAR_S = re.compile(r"(ss|us|is)$")
_PLURALS = {
    "person": "people", "knife": "knives", "sheep": "sheep", "mouse": "mice", "shelf": "shelves",
    "broccoli": "broccoli", "tooth": "teeth", "foot": "feet", "food": "pieces of food", "fruit": "pieces of fruit",
    "man": "men", "deer": "deer", "fish": "fish", "tomato": "tomatoes", "potato": "potatoes", "corn": "ears of corn",
    "lily-of-the-valley": "lilies-of-the-valley",
    "bread": "pieces of bread", "cheese": "pieces of cheese", "meat": "pieces of meat", "candy": "candies",
    "skis": "pairs of skis", "scissors": "pairs of scissors", "hair": "hair", "paper": "papers", "leaf": "leaves",
    "vegetation": "vegetation",
}  # fmt: skip
_PLURAL_WORDS = frozenset({"people", "feet", "teeth", "mice", "knives", "men", "leaves", "shelves"})
_SINGULAR_WORDS = frozenset({"lens", "gas", "canvas", "rhinoceros"})
_MASS = frozenset({
    "hair", "skin", "snow", "sand", "water", "grass", "gravel", "dirt", "paper", "food", "fruit", "cardboard",
    "broccoli", "sky", "sea", "accessories", "intimate", "clothing", "pavement", "traffic", "swimwear", "bread",
    "footwear", "underwear", "jewellery", "headwear", "lingerie", "knitwear", "foliage", "masonry", "brickwork",
    "flour", "butter", "sugar", "powder", "jam", "bulgur", "cereal", "milk", "yogurt", "yoghurt", "juice", "coffee",
    "chocolate", "cocoa", "salt", "couscous", "cheese", "mustard", "corn", "ginger", "garlic", "parsley", "lettuce",
    "spinach", "mint", "honey", "sauce", "syrup", "mayonnaise", "oil", "pasta", "meat", "black pepper",
    "cayenne pepper", "oregano", "turmeric", "cumin", "thyme", "rice", "rosemary", "quinoa", "extract",
    "vegetation", "greenery", "furniture", "oatmeal",
    "parquet", "cattle", "flooring", "asphalt", "soil", "earth", "mesh", "netting", "lawn", "shade",
})  # fmt: skip
_CLAUSE = "who|wearing|holding|carrying|riding|beside|near|next"
"""What opens a clause after a noun, beside prepositions."""
_VOWEL = re.compile(r"^(?!uni|use|util|one|eu)[aeiou]", re.IGNORECASE)
_LETTER = r"[^\W\d_]"
_SIDE = re.compile(
    "|".join((
        rf"(?<!{_LETTER})(?i:left|right)(?=(?i:most|wards?|hand|handed)?(?!{_LETTER}))"
        r"(?!\s+(?i:now|away|here|there)\b)",  # words of their own, whatever stands beside: "left_eye", "eye-left"
        rf"(?<!{_LETTER})(?:[Ll]eft|[Rr]ight)(?=[A-Z])",  # "LeftEye"
        rf"(?<=[a-z])(?:Left|Right)(?![a-z])|(?<=[a-z])(?:LEFT|RIGHT)(?!{_LETTER})",  # "eyeLeft"
        rf"(?<![^\W_])[LlRr](?=_{_LETTER})|(?<={_LETTER}_)[LlRr](?![^\W_])",  # "l_eye", "eye_l"
    ))
)  # fmt: skip
# Both sides of each, so that what is flipped twice is as it was.
_IDIOM = re.compile(
    r"\b(?:all S(?=\s*(?:[.,;:!?]|$)|\s+(?:then|now|so|please|show|select|find|mark)\b)"
    r"|S (?:next to|behind|beside|in front|in the middle|on top|above|below|under|underneath|between|opposite)"
    r"|S[-_ ]angle\w*|S of way|S side (?:up|out)|S[-_ ]click\w*|S[-_ ]overs?"
    r"|S (?:amount|answer|time|temperature|order|moment|choice|kind)|what(?:'s| is) S(?! of\b)"
    r"|(?:that|this|it|you|they|we)(?:'s|'re| is| are) S(?=\s*(?:[.,!?]|$)))(?!\w)".replace("S", "(?:left|right)"),
    re.I,
)


def head(phrase: str) -> str:
    """The noun that decides number: "blades" of "blades of the scissors", "wheel" of "wheel on the left"."""
    return re.split(rf" (?:of|on|in|at|to|with|from|{_CLAUSE}) ", phrase, maxsplit=1)[0].split()[-1].lower()


def is_plural(phrase: str) -> bool:
    """Whether the phrase takes "are"."""
    noun = head(phrase)
    if noun in _PLURAL_WORDS:
        return True
    return noun.endswith("s") and noun not in _SINGULAR_WORDS and _SINGULAR_S.search(noun) is None


def is_mass(phrase: str) -> bool:
    """Whether the phrase takes no "a"."""
    return head(phrase) in _MASS or phrase in _MASS


def plural(phrase: str) -> str:
    """The plural of a singular phrase; a plural one stays, and what is not counted."""
    if phrase in _PLURALS:
        return _PLURALS[phrase]
    noun, joint, rest = phrase.partition(" of ")
    start, _, last = noun.rpartition(" ")
    if last in _PLURALS:
        last = _PLURALS[last]
    elif is_plural(last) or is_mass(noun):
        pass
    elif re.search(r"(s|x|z|ch|sh)$", last):
        last += "es"
    elif re.search(r"[^aeiou]y$", last):
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{start} {last}".strip() + joint + rest


def definite(phrase: str) -> str:
    """The phrase with its article: "the cup", "all the cups"."""
    return f"all the {phrase[4:]}" if phrase.startswith("all ") else f"the {phrase}"


def indefinite(phrase: str) -> str:
    """The phrase as something new: "a cup", "an umbrella", "any shoes", "any sand"."""
    if is_plural(phrase) or is_mass(phrase):
        return f"any {phrase}"
    return f"{'an' if _VOWEL.match(phrase) else 'a'} {phrase}"


def compound(phrase: str) -> str:
    """A part without "the": "cup handle" for "handle of the cup", "hood on the car"; other phrases stay."""
    part, joint, thing = phrase.partition(" of the ")
    if not joint:
        return phrase
    if (
        part.startswith(f"{thing} ") or part == thing.split()[-1]
    ):  # "bed frame of the bed", "board of the cutting board"
        return part if part.startswith(thing) else thing
    return f"{part} on the car" if thing == "car" else f"{thing} {part}"


def has_words(text: str, phrase: str) -> bool:
    """Whether the words of `phrase` stand in the text as whole words, singular or plural."""
    words = re.escape(phrase.lower()).replace(r"\ ", r"\s+")
    stem = words[:-1] + "s?" if words.endswith("s") else words + "(?:s|es)?"
    return re.search(rf"(?<![\w-]){stem}(?![\w-])", text.lower()) is not None


def mirror(text: str) -> str:
    """Left and right swapped where they are sides, whatever joins the words ("left-hand", "rightmost", "left_eye",
    "LeftEye", "l_eye"), case kept; "right now", "all right", "right angle" and "what is left" stay."""
    parts, end = [], 0
    for idiom in _IDIOM.finditer(text):
        parts += [_swapped(text[end : idiom.start()]), idiom.group()]
        end = idiom.end()
    return "".join((*parts, _swapped(text[end:])))


def _swapped(text: str) -> str:
    return _SIDE.sub(lambda match: _opposite(match.group(0)), text)


def _opposite(side: str) -> str:
    if len(side) == 1:
        return side.translate(str.maketrans("LlRr", "RrLl"))
    other = "right" if side.lower() == "left" else "left"
    return other.upper() if side.isupper() else other.capitalize() if side[0].isupper() else other
