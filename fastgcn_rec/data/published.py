"""Fingerprints of the published LightGCN splits, computed from the published pairs."""

from __future__ import annotations

PUBLISHED = {
    "gowalla": "29858-40981-810128-217242-5a70bf5600694401",
    "yelp2018": "31668-38048-1237259-324147-3f2ecbec94e91435",
}


def published_fingerprint(name: str) -> str | None:
    """Return the fingerprint of the published split of that name, or None where none is on record.

    Examples
    --------
    >>> published_fingerprint("gowalla")
    '29858-40981-810128-217242-5a70bf5600694401'
    """
    return PUBLISHED.get(name)
