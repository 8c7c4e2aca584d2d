"""The words of the world: names of things, grouped by the slots of sentences that they can fill.

The order counts: within a category the first words are the typical ones (see `world.typicality`).
"""

from __future__ import annotations


def _words(line: str) -> tuple[str, ...]:
    return tuple(line.split())


def _split(**lines: str) -> dict[str, tuple[str, ...]]:
    return {name: _words(line) for name, line in lines.items()}


HABITATS = _split(
    forest="fox bear owl deer wolf badger squirrel boar lynx hedgehog marten woodpecker",
    sea="whale shark crab squid seal turtle octopus dolphin lobster eel ray urchin",
    farm="cow pig hen goat sheep horse duck donkey goose llama rooster pony",
    desert="camel scorpion cobra lizard gecko vulture jackal fennec meerkat oryx tortoise viper",
    jungle="tiger parrot monkey toucan jaguar sloth python gorilla tapir iguana macaw chameleon",
    arctic="walrus penguin narwhal reindeer ermine puffin husky muskox lemming orca tern caribou",
)
FOODS = _split(
    fruit="apple pear plum grape mango peach cherry lemon melon kiwi fig lime",
    vegetable="carrot onion potato cabbage leek radish turnip pea bean spinach beet celery",
    dessert="cake pie cookie pudding fudge tart waffle brownie donut sorbet nougat trifle",
    drink="water tea coffee juice milk cocoa cider soda lemonade syrup broth kefir",
)
GOODS = _split(
    tool="hammer saw drill shovel rake axe chisel pliers ladder wrench file clamp",
    instrument="piano guitar violin drum flute trumpet harp cello banjo organ lute oboe",
    garment="coat hat shirt dress scarf glove sock boot jacket skirt vest belt",
    vehicle="car bus train bicycle truck tram ferry sledge canoe wagon scooter rocket",
    tree="oak pine birch maple willow cedar elm ash palm spruce larch poplar",
    flower="rose tulip daisy lily poppy violet iris lotus orchid jasmine crocus clover",
)
KINDS = {**FOODS, **GOODS}
CATEGORIES = {**HABITATS, **KINDS}
"""Animals by habitat, and kinds of food and goods."""

CITIES = _words(
    "arvo belm cort dunia elba fosk garm hult imra jask kolm lund mirt nove oslen prag quin riga sofa "
    "tarn ulm vigo wels yorn"
)
COUNTRIES = _words("northland eastland southland westland midland highland")
JOBS = _words(
    "baker doctor teacher farmer pilot lawyer nurse tailor miner painter singer dancer writer sailor "
    "plumber barber judge chef clerk guard smith potter hunter fisher"
)
COLORS = _words("red blue green yellow black white brown pink gray orange purple gold")
DAYS = _words("monday tuesday wednesday thursday friday saturday sunday")
MARKERS = _words("hello thanks bye amen cheers done regards welcome indeed finally")
"""Words that open or close a note."""

COUNTS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
PAINTABLE = _words("house door wall boat")
COUNTABLE = _words("apple pear plum cake cookie carrot onion bean lemon melon")
GAINS = _words("gets finds buys")
LOSSES = _words("loses drops sells")
NUMBERS = tuple(str(number) for number in range(100))

PETS = tuple(animal for animals in HABITATS.values() for animal in animals)
DISHES = tuple(food for foods in FOODS.values() for food in foods)
POOLS = {"city": CITIES, "job": JOBS, "pet": PETS, "food": DISHES, "color": COLORS}
"""Attribute of a person -> its possible values."""

ATTRIBUTES = tuple(POOLS)
