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

VERBS = _set(
    "accept achieve act add address adjust admire admit adopt advance advise afford agree aim allow alter analyze"
    " analyse answer anticipate appear apply appreciate approach argue arise arrange arrive ask assemble assert assess"
    " assign assist assume attach attempt attend avoid awaken balance ban be bear beat become beg begin behave behold"
    " believe belong bend bind blend boil boost borrow bounce break breathe bring brush build burn burst buy calculate"
    " call can capture care carry carve catch cause celebrate challenge change charge chase check choose cite claim"
    " clarify clean clear click climb close collapse collect combine come commit communicate compare compete compile"
    " complete compose comprehend compute conceive conclude conduct confirm connect conquer consider consist construct"
    " contain continue contrast contribute convert convince cook copy correct could count cover craft create cross cry"
    " cultivate cut dance deal decide declare decline deem defend define delve deliver demand demonstrate depend depict"
    " derive descend describe design destroy detail detect determine develop die differ dig disagree discover discuss"
    " dismiss display distinguish distribute divide do doubt draft drag draw dream drink drive drop earn eat educate"
    " elevate eliminate embark embrace emerge emphasize employ empower enable encourage encounter end endure engage"
    " enhance enjoy enlighten ensure enter entail envision escape establish estimate evaluate evoke evolve examine"
    " exist expand expect experience experiment explain exploit explore express extend extract face facilitate fail"
    " fall fear feel fetch fight fill find finish fix flee float flow fly focus fold follow forbid force forge forget"
    " forgive form formulate foster free gain gather gaze generate get give glance glow go grant grasp greet grind grow"
    " guarantee guess guide handle hang happen harness have hear help hesitate hide highlight hire hold honor hope hug"
    " hurry identify ignite ignore illuminate illustrate imagine implement imply import improve include incorporate"
    " increase indicate infer influence inform inject insert inspect inspire install integrate intend interpret"
    " introduce invent invest investigate invite involve isolate join jump justify keep kick kill kneel knock know lack"
    " last laugh launch lay lead leap learn leave lend let leverage lie lift limit link list listen live load locate"
    " look lose love maintain make manage marvel master match may mean measure meet mention merge might migrate mind"
    " minimize mix modify monitor move multiply must narrate navigate need negotiate note notice nurture obey obtain"
    " observe occur offer open operate optimize order organize ought overcome own paint participate pass pause pay"
    " peer perceive perform permit persuade pick picture place plan plant play plunge ponder pour practice pray predict"
    " prefer prepare present preserve press pretend prevent proceed produce promise promote propose protect prove"
    " provide publish pull punish purchase pursue push put question quit raise reach react read realize recall receive"
    " recognize recommend reconsider recover recycle reduce refer refine reflect refuse regard reject relate relax"
    " release rely remain remember remind remove render repair repeat replace reply report represent request require"
    " rescue research resist resolve respond rest restore result retain retrieve return reveal review revise rewrite"
    " ride ring rise risk roam roll run rush sail save say scan scatter search see seek seem seize select sell send"
    " separate serve set settle shake shall shape share shatter shift shine shoot should shout show shut simplify sing"
    " sink sit sketch sleep slide slip smell smile soar solve sort sound speak specify spend spin split spread stand"
    " start state stay steal step stick stimulate stop store strengthen stretch strike strive structure struggle study"
    " submit succeed suffer suggest summarize summon supply support suppose surrender surround survive sustain swear"
    " sweep swim switch take talk taste teach tear tell tend test thank think thrive throw tie touch trace track trade"
    " train transcend transform translate travel treat trigger trust try turn understand undergo unify unleash unlock"
    " unveil update urge use utilize validate value vanish vary venture verify view visit visualize vote wait wake walk"
    " wander want warn wash watch wave weave weep welcome whisper will win wish witness wonder work worry would wrap"
    " write yearn yield"
)

VERB_FORMS = _set(
    "am is are was were been being has had having does did done doing went gone came became began begun built bought"
    " brought caught chose chosen drew drawn drove driven fell fallen felt found fought flew forgot forgotten gave"
    " given gotten got grew grown held kept knew known laid led left lost made meant met paid put ran rose risen said"
    " saw seen sent sang sat slept spoke spoken spent stood stole stuck struck swam taken took taught told thought"
    " threw thrown"
    " understood woke won wore wrote written isn't aren't wasn't weren't don't doesn't didn't can't couldn't won't"
    " wouldn't shouldn't let's lies dies ties tries"
)

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
