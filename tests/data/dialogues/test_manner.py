from __future__ import annotations

import pytest

from miras.core.errors import InputError
from miras.data.dialogues.manner import PLAIN, Manner


def test_plain_is_nothing_new() -> None:
    assert Manner() == PLAIN == Manner(0, 0, 0, 0)


def test_faults_are_named_together() -> None:
    with pytest.raises(InputError, match=r"chat: 2.*typos: -1"):
        Manner(chat=2, typos=-1)
