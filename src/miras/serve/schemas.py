"""Bodies and answers of the API, as types: what is not written here is refused.

In: JSON. Out: checked objects; the OpenAPI document is made from them. Those of gestures stand in
`gestures.py`. Knows no photo: what fits one is checked later.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _whole(value: Any) -> Any:
    """JSON knows one kind of number: 10.0 is 10."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
Label = Annotated[Literal[0, 1], BeforeValidator(_whole)]
Title = Annotated[str, Field(min_length=1, max_length=200)]
RegionId = Annotated[Whole, Field(ge=1, le=2**31)]


class Body(BaseModel):
    """A body of a request: no other fields, no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Login(Body):
    """A token, for a cookie."""

    token: Annotated[str, Field(max_length=512)]


class SampleBody(Body):
    """The name of a photo that ships with the program."""

    sample: Annotated[str, Field(max_length=80)]


class NewConversation(Body):
    """About which photo."""

    photo: Annotated[str, Field(max_length=80)]
    title: Title | None = None


class Rename(Body):
    """A title."""

    title: Title


class Ask(Body):
    """A message."""

    text: Annotated[str, Field(max_length=100_000)]


class Fork(Body):
    """How many turns are kept; null: all."""

    turns: Annotated[Whole, Field(ge=0, le=2**31)] | None = None
    title: Title | None = None


class Select(Body):
    """What is to be selected: an expression over region ids, "" for nothing."""

    expression: Annotated[str, Field(max_length=4000)]


class TakeAlternative(Body):
    """Another name for a region of the last turn."""

    region: RegionId
    phrase: Annotated[str, Field(max_length=400)]


class Answer(BaseModel):
    """An answer; those of the routes follow."""

    model_config = ConfigDict(extra="forbid")


class ProblemBody(BaseModel):
    """RFC 9457: a refusal, with what was expected, what was got, and the cure."""

    type: str
    title: str
    status: int
    detail: str
    expected: str
    got: str
    cure: str
    field: str | None = None
    request: str | None = None


class Session(Answer):
    """Who asks."""

    auth: Literal["none", "token"]
    signed_in: bool
    csrf: str | None


class Sample(Answer):
    """A photo that ships with the program."""

    name: str
    what: str
    width: int
    height: int
    credit: str
    image_url: str


class Samples(Answer):
    """All of them."""

    items: list[Sample]


class Photo(Answer):
    """An uploaded photo."""

    id: str
    name: str
    width: int
    height: int
    bytes: int
    created: str
    sample: str | None
    image_url: str
    preview_url: str
    thumbnail_url: str


class RleAnswer(Answer):
    """COCO run lengths: size [H, W]."""

    size: list[int]
    counts: str


class OtherName(Answer):
    """A name that was weighed."""

    phrase: str
    chance: float


class Region(Answer):
    """A mask with its words."""

    id: int
    phrase: str
    score: float | None
    operator: Literal["replace", "add", "cut", "except", "undo", "reject"]
    again: bool
    turn: int
    area: int
    box: list[float] | None
    outline: str
    rle: RleAnswer
    alternatives: list[OtherName]
    mask_url: str


class Selection(Answer):
    """What is selected after a turn."""

    expression: str
    label: str
    added: list[int]
    left_out: list[int]
    area: int
    box: list[float] | None
    outline: str
    rle: RleAnswer
    mask_url: str | None
    overlay_url: str | None


class Piece(Answer):
    """A part of a reply's text; region: that it names."""

    text: str
    region: int | None


class Seconds(Answer):
    """What a turn took."""

    prefill: float
    generate: float
    segment: float
    total: float
    encode: float
    wait: float


class Turn(Answer):
    """One exchange, or one change by hand."""

    turn: int
    key: str
    kind: Literal["exchange", "refinement", "pointing", "selection"]
    user: str
    text: str
    pieces: list[Piece]
    regions: list[Region]
    operators: list[Literal["replace", "add", "cut", "except", "undo", "reject"]]
    certainty: float | None
    unsure: bool
    selection: Selection
    seconds: Seconds
    tokens: int
    created: str


class Parent(Answer):
    """Where a conversation was forked from."""

    conversation: str
    turns: int


class Summary(Answer):
    """A conversation in a list."""

    id: str
    title: str
    turns: int
    state: Literal["idle", "running", "open"]
    created: str
    updated: str
    parent: Parent | None
    photo: Photo


class OpenQuestion(Answer):
    """A question without an answer."""

    text: str
    since: str


class Conversation(Summary):
    """A whole conversation."""

    history: list[Turn]
    regions: list[Region]
    selection: Selection
    open: OpenQuestion | None


class Summaries(Answer):
    """A page of a list."""

    items: list[Summary]
    next: str | None


class LimitsAnswer(Answer):
    """What one person, or one request, may cost."""

    photo_bytes: int
    photo_pixels: int
    photos: int
    conversations: int
    turns: int
    text_characters: int
    body_bytes: int
    requests_per_minute: int
    turns_per_minute: int
    uploads_per_minute: int
    queue: int
    retention_days: int | None
    model: str


class Health(Answer):
    """The process answers."""

    status: Literal["alive"]
    version: str


class Ready(Answer):
    """Whether questions are taken."""

    ready: bool
    model: str
    queue: int
