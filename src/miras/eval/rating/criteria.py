"""By what a conversation is rated, by judges and by people alike; their words stand in `prompts/criteria.md`.

In: nothing. Out: names of the criteria, and the ends of their scale. Knows no question.
"""

from __future__ import annotations

CRITERIA = ("progressiveness", "coherence", "consistency", "relevance")
LOWEST, HIGHEST = 1, 5
