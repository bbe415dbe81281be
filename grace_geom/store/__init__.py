"""A store that many machines share: folders that are whole or absent, and claims on making them.

It needs nothing but objects that are made once, so it works on a shared folder, on S3 and on Google
Storage alike. No torch here: the dashboard reads a store too.
"""

from grace_geom.store.away import TRIES, AwayError
from grace_geom.store.claims import (
    DONE,
    FAILED,
    NOBODY,
    STOPPED,
    WITHDRAWN,
    Claim,
    ClaimState,
    Patience,
    SeenClaim,
)
from grace_geom.store.folders import PARTS, PLAN, Manifest, Store, StoredFile, TakenError
from grace_geom.store.objects import PROTOCOLS, Listed, ObjectStore, address, protocol_of
from grace_geom.store.versions import base_of, newest_versions, version_of, versioned

__all__ = [
    "DONE",
    "FAILED",
    "NOBODY",
    "PARTS",
    "PLAN",
    "PROTOCOLS",
    "STOPPED",
    "TRIES",
    "WITHDRAWN",
    "AwayError",
    "Claim",
    "ClaimState",
    "Listed",
    "Manifest",
    "ObjectStore",
    "Patience",
    "SeenClaim",
    "Store",
    "StoredFile",
    "TakenError",
    "address",
    "base_of",
    "newest_versions",
    "protocol_of",
    "version_of",
    "versioned",
]
