"""Closed classes of English words, and the facts about the world that instructions ask for.

The lists were written by hand for this project. Demonstratives ("that") count as pronouns.
"""

from __future__ import annotations


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


COORDINATING = _set("for and nor but or yet so")

PRONOUNS = _set(
    "i me my mine myself you your yours yourself yourselves he him his himself she her hers herself it its itself"
    " we us our ours ourselves they them their theirs themselves themself one's oneself"
    " who whom whose whoever whomever someone somebody something anyone anybody anything"
    " everyone everybody everything nobody nothing this that these those"
)
"""Personal, possessive, reflexive and demonstrative pronouns, and other words that are always pronouns."""

STOP_WORDS = _set(
    # articles, conjunctions
    "a an the and or but nor so yet if because as while although though unless until than whether"
    # prepositions
    " of at by for with about against between into through during before after above below to from up down in out"
    " on off over under upon within without among toward towards across along around behind beside beyond near per via"
    # pronouns and determiners
    " i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers"
    " herself it its itself they them their theirs themselves what which who whom whose this that these those"
    " some any each every all both few more most other another such no none neither either much many own same"
    # auxiliaries
    " am is are was were be been being have has had having do does did doing will would shall should can could may"
    " might must ought"
    # adverbs of place, time and degree
    " again further then once here there when where why how not only too very just also now ever never"
    # contractions
    " i'm you're he's she's it's we're they're i've you've we've they've i'd you'd he'd she'd we'd they'd i'll you'll"
    " he'll she'll we'll they'll isn't aren't wasn't weren't hasn't haven't hadn't doesn't don't didn't won't wouldn't"
    " shan't shouldn't can't cannot couldn't mustn't let's that's who's what's here's there's when's where's why's"
)

MINOR_WORDS = _set(
    "a an the and but or nor for so yet as at by in of off on per to up via from into like near onto over than with"
    " if vs de la"
)
"""Words that a title may have in lower case: articles, conjunctions, prepositions of up to four letters."""

OPENING_ADVERBS = _set("well still even up down out long fast right like please thanks okay")
"""Words that open a text as adverbs or courtesies, although they are verbs too."""

VERBS_ADDED = _set("cannot saute sauteed sauteing julienne yeet upvote downvote")
"""Verbs that lemminflect's lexicon lacks."""

BE = _set("is are was were has")
FINITE = BE | _set("have had do does did can could will would shall should may might must")
"""Finite forms, whose subject the word before them is; only those of BE after an auxiliary ("May is warm")."""

CAPITALS_NORTH_OF_45 = {
    "reykjavik": 64.15, "helsinki": 60.17, "oslo": 59.91, "tallinn": 59.44, "stockholm": 59.33, "riga": 56.95,
    "moscow": 55.76, "copenhagen": 55.68, "vilnius": 54.69, "minsk": 53.90, "dublin": 53.35, "berlin": 52.52,
    "amsterdam": 52.37, "warsaw": 52.23, "london": 51.51, "brussels": 50.85, "kyiv": 50.45, "prague": 50.08,
    "luxembourg": 49.61, "paris": 48.86, "vienna": 48.21, "bratislava": 48.15, "budapest": 47.50, "vaduz": 47.14,
    "chisinau": 47.01, "bern": 46.95, "ljubljana": 46.06, "zagreb": 45.81,
}  # fmt: skip
"""Capitals of sovereign states in Europe and their latitudes in degrees north, to a hundredth."""

OTHER_CAPITAL_NAMES = {"kiev": "kyiv", "berne": "bern", "luxembourg city": "luxembourg"}

AFRICA = tuple(
    frozenset(names.split("|"))
    for names in (
        "algeria", "angola", "benin", "botswana", "burkina faso", "burundi", "cabo verde|cape verde", "cameroon",
        "central african republic", "chad", "comoros|the comoros",
        "democratic republic of the congo|democratic republic of congo|dr congo|drc|congo kinshasa"
        "|congo democratic republic of the|congo democratic republic|congo democratic republic of",
        "republic of the congo|congo|congo brazzaville|congo republic of the|congo republic|republic of congo",
        "cote d'ivoire|ivory coast", "djibouti", "egypt", "equatorial guinea", "eritrea", "eswatini|swaziland",
        "ethiopia", "gabon", "gambia|the gambia", "ghana", "guinea", "guinea bissau", "kenya", "lesotho", "liberia",
        "libya", "madagascar", "malawi", "mali", "mauritania", "mauritius", "morocco", "mozambique", "namibia", "niger",
        "nigeria", "rwanda", "sao tome and principe", "senegal", "seychelles|the seychelles", "sierra leone", "somalia",
        "south africa", "south sudan", "sudan", "tanzania", "togo", "tunisia", "uganda", "zambia", "zimbabwe",
    )
)  # fmt: skip
"""The 54 member states of the United Nations in Africa, each with its names, without punctuation."""

DISPUTED = frozenset({"western sahara", "sahrawi arab democratic republic", "somaliland"})
"""Territories that an answer may name or leave out."""
