"""The page of `miras serve` as a Space shows it: at port 7860, by the Space's own name, behind MIRAS_TOKEN."""

from __future__ import annotations

import os
import sys

PORT = "7860"


def command(environment: dict[str, str]) -> list[str]:
    """How the server is begun. Raises SystemExit without a token: it would not listen beyond this machine."""
    if not environment.get("MIRAS_TOKEN"):
        raise SystemExit("expected the secret MIRAS_TOKEN, got none; set it in the settings of the Space")
    begun = [sys.executable, "-m", "miras", "serve", "--host", "0.0.0.0", "--port", environment.get("PORT", PORT)]
    begun += ["--data", environment.get("MIRAS_DATA", "data"), "--retention-days", "1"]
    host = environment.get("SPACE_HOST")
    return [*begun, "--allow-host", host, "--allow-origin", f"https://{host}"] if host else begun


if __name__ == "__main__":
    begun = command(dict(os.environ))
    os.execv(begun[0], begun)
