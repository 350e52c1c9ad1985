"""What the names of columns say, in English and its neighbours: "CustomerID" is a user, "Artikelnr" an item, "unixReviewTime" a time."""

from __future__ import annotations

import re

_USERS = [
    "user",
    "usr",
    "customer",
    "client",
    "visitor",
    "listener",
    "viewer",
    "reader",
    "player",
    "account",
    "member",
    "person",
    "buyer",
    "shopper",
    "subscriber",
    "reviewer",
    "patron",
    "guest",
    "consumer",
    "student",
    "learner",
    "patient",
    "voter",
    "rater",
    "watcher",
    "follower",
    "uid",
    "who",
    "kunde",
    "kunden",
    "käufer",
    "nutzer",
    "benutzer",
    "hörer",
    "leser",
    "klant",
    "gebruiker",
    "utilisateur",
    "acheteur",
    "cliente",
    "usuario",
    "usuário",
    "utente",
    "u",
]
_USERS_OF_A_KIND = ["session", "household", "device", "profile", "cookie", "basket"]
_ITEMS = [
    "item",
    "product",
    "prod",
    "article",
    "movie",
    "film",
    "song",
    "track",
    "asin",
    "isbn",
    "book",
    "sku",
    "stock",
    "game",
    "app",
    "video",
    "show",
    "episode",
    "recipe",
    "business",
    "venue",
    "poi",
    "place",
    "paper",
    "post",
    "news",
    "story",
    "listing",
    "offer",
    "content",
    "hotel",
    "restaurant",
    "course",
    "good",
    "goods",
    "beer",
    "wine",
    "anime",
    "joke",
    "question",
    "podcast",
    "property",
    "iid",
    "merchandise",
    "photo",
    "pin",
    "thing",
    "what",
    "artikel",
    "produkt",
    "buch",
    "lied",
    "produit",
    "producto",
    "artículo",
    "articulo",
    "produto",
    "artigo",
    "prodotto",
    "articolo",
    "i",
]
_ITEMS_OF_A_KIND = [
    "artist",
    "album",
    "brand",
    "category",
    "author",
    "store",
    "shop",
    "location",
    "seller",
    "creator",
    "channel",
]
_IDS = {
    "id",
    "key",
    "code",
    "no",
    "nr",
    "number",
    "uuid",
    "guid",
    "hash",
    "index",
    "idx",
    "uri",
    "url",
    "ref",
    "nummer",
}
_LABELS = {"name", "title", "label", "text", "bezeichnung", "titel", "beschreibung"}
_RATINGS = {"rating": 4, "bewertung": 4, "star": 3, "score": 3, "overall": 3, "grade": 3}
_SUMMARIES = {"avg", "average", "mean", "median", "total", "sum", "min", "max", "global", "n", "num", "number"}
_TIMES = ["timestamp", "time", "datetime", "date", "ts", "dt", "when", "at", "epoch", "utc", "created", "played"]
_TIMES += ["datum", "zeit", "zeitpunkt", "zeitstempel", "fecha"]
_UNITS = {"ms", "us", "ns", "s", "sec", "seconds", "millis", "utc", "gmt", "unix"}
_OTHER_TIMES = {"end", "updated", "modified", "last"}  # of the event, but not its own
NO_EVENTS = {
    "birth",
    "birthday",
    "dob",
    "release",
    "released",
    "due",
    "expiry",
    "expires",
    "join",
    "joined",
    "signup",
    "registered",
    "geburt",
    "nacimiento",
    "erscheinung",
}
_TITLES = {"title": 3, "titel": 3, "titre": 3, "título": 3, "titulo": 3, "titolo": 3, "name": 2, "bezeichnung": 2}
_TITLES |= dict.fromkeys(("nom", "nome", "naam", "nombre"), 2)
_TITLES |= dict.fromkeys(
    ("description", "label", "beschreibung", "libellé", "libelle", "descripción", "descripcion"), 1
)
_ENDINGS = ("id", "name", "code", "key", "title", "nummer", "nr", "bezeichnung", "titel")  # behind a noun
_COMPOUNDS = ("datum", "zeitpunkt", "bezeichnung", "titel")  # behind whatever


def words_of(name: str) -> list[str]:
    """The words of a name in any spelling, lower case, without a plural's s; "userid" is two.

    >>> words_of("CustomerIDs"), words_of("unixReviewTime"), words_of("stock code"), words_of("userid")
    (['customer', 'id'], ['unix', 'review', 'time'], ['stock', 'code'], ['user', 'id'])
    >>> words_of("Kundennummer"), words_of("Bestelldatum")
    (['kunden', 'nummer'], ['bestell', 'datum'])
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-rt-z])", " ", name)
    words = [_singular(word) for word in re.findall(r"[^\W_]+", apart.lower())]
    nouns = {*_USERS, *_ITEMS, *_USERS_OF_A_KIND, *_ITEMS_OF_A_KIND}
    for ending in dict.fromkeys((*_ENDINGS, *_COMPOUNDS)):
        stem = words[-1].removesuffix(ending) if words else ""
        if stem and stem != words[-1] and (stem in nouns - {"u", "i"} or ending in _COMPOUNDS):
            words[-1:] = [_singular(stem), ending]
            break
    return words


def _singular(word: str) -> str:
    return (
        word[:-1]
        if (len(word) > 3 or word == "ids")
        and word.endswith("s")
        and not word.endswith("ss")
        and word not in ("news", "goods")
        else word
    )


NO_IDS = set(
    words_of(
        "title name description label qty cost revenue sale discount tax total sum value age year month day week weekday hour minute gender sex "
        "country city region state lang language locale currency status type event action behavior behaviour duration length weight score rating "
        "star like click view buy purchase position rank lat latitude lon lng longitude platform os browser version "
        "betrag umsatz summe land stadt alter geschlecht jahr monat tag wert"
    )
)  # what is said of an event, a user or an item


def grade(name: str, role: str) -> int:
    """How well a name fits a role, 0 for not at all; higher grades win."""
    words = words_of(name)
    if role == "rating":
        return (
            0
            if not words or not _SUMMARIES.isdisjoint(words)
            else max(0, _RATINGS.get(words[-1], 0) - (len(words) > 1))
        )
    return _time(words) if role == "time" else _ids(words, role)


def _ids(words: list[str], role: str) -> int:
    """A noun of the role, last but for "id" and the like: with it best, then alone, behind other words, and last with "name"."""
    most, least = (_USERS, _USERS_OF_A_KIND) if role == "user" else (_ITEMS, _ITEMS_OF_A_KIND)
    kind = 3
    if len(words) > 1 and words[-1] in _IDS:
        words, kind = words[:-1], 4
    elif len(words) > 1 and words[-1] in _LABELS:
        words, kind = words[:-1], 1
    elif len(words) > 1 and words[0] in _TITLES:
        words, kind = words[1:], 1
    if not words or words[-1] not in (*most, *least):
        return 0
    own = words[-1] in ("uid", "iid", "asin", "isbn", "sku")
    found = 4 if own and kind == 3 else kind
    if len(words) > 1:
        found = min(found, 2)
    return found + (4 if words[-1] in most else 0)


def _time(words: list[str]) -> int:
    while len(words) > 1 and words[-1] in _UNITS:
        words = words[:-1]
    if not words or words[-1] not in _TIMES:
        return 0
    if len(words) == 1:
        return 4
    if not NO_EVENTS.isdisjoint(words):
        return 0
    return 1 if not _OTHER_TIMES.isdisjoint(words) else 2 if words[0] == "created" else 3


def title_grade(name: str) -> int:
    """How well a name fits what people read of an item, 0 for not at all: "title" alone best."""
    words = words_of(name)
    found = _TITLES.get(words[-1], 0) if words else 0
    return 4 if len(words) == 1 and found == 3 else found
