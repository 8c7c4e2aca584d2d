"""The sentences of the world, as templates: statements, questions, requests and their synonyms.

In every tuple the first wording is the usual one (the first two in LIST_REQUESTS and OPEN_REQUESTS). Training prompts
use no other, so that the rest, which occur in the pretraining corpus, can test whether an aligned model copes with
rewording.
"""

from __future__ import annotations

STATEMENTS = {
    "city": ("{person} lives in {value} .", "the home of {person} is {value} .", "{person} has a house in {value} ."),
    "job": ("{person} works as a {value} .", "the job of {person} is {value} .", "{person} is a {value} ."),
    "pet": ("{person} has a pet {value} .", "the pet of {person} is a {value} .", "{person} keeps a {value} ."),
    "food": (
        "{person} likes to eat {value} .",
        "the favorite food of {person} is {value} .",
        "{person} eats {value} every day .",
    ),
    "color": ("{person} wears {value} .", "the color of {person} is {value} .", "{person} prefers {value} clothes ."),
}
QUESTIONS = {
    "city": ("where does {person} live ?", "what is the home of {person} ?"),
    "job": ("what is the job of {person} ?", "what does {person} work as ?"),
    "pet": ("what pet does {person} have ?", "what is the pet of {person} ?"),
    "food": ("what does {person} like to eat ?", "what is the favorite food of {person} ?"),
    "color": ("what color does {person} wear ?", "what is the color of {person} ?"),
}
UPPER = ("in upper case", "in capital letters")
STARTS = ("starts with", "opens with")
ENDS = ("ends with", "closes with")
REPLY = "please reply"

FUNCTIONS = {
    "get_weather": ("city", "day"),
    "book_table": ("city", "day", "count"),
    "send_money": ("name", "amount"),
    "set_alarm": ("day", "hour"),
    "buy_food": ("food", "count"),
    "find_person": ("name", "city"),
    "hire": ("job", "city", "amount"),
    "paint": ("item", "color"),
}
"""The functions that can be called, with the names of their arguments in order."""

CALL_REQUESTS = {
    "get_weather": ("what is the weather in {city} on {day}", "tell me the weather on {day} in {city}"),
    "book_table": ("book a table for {count} in {city} on {day}", "on {day} i want a table in {city} for {count}"),
    "send_money": ("send {amount} coins to {name}", "give {name} {amount} coins"),
    "set_alarm": ("wake me at {hour} on {day}", "set an alarm on {day} at {hour}"),
    "buy_food": ("buy {count} {food}", "order some {food} , {count} of them"),
    "find_person": ("find {name} in {city}", "look in {city} for {name}"),
    "hire": ("hire a {job} for {amount} coins in {city}", "in {city} find a {job} who takes {amount} coins"),
    "paint": ("paint the {item} {color}", "make my {item} {color}"),
}
INCOMPLETE_REQUESTS = {
    "get_weather": {"day": "what is the weather in {city}", "city": "what is the weather on {day}"},
    "book_table": {
        "city": "book a table for {count} on {day}",
        "day": "book a table for {count} in {city}",
        "count": "book a table in {city} on {day}",
    },
    "send_money": {"name": "send {amount} coins", "amount": "send coins to {name}"},
    "set_alarm": {"day": "wake me at {hour}", "hour": "wake me on {day}"},
    "buy_food": {"food": "buy {count} of them", "count": "buy some {food}"},
    "find_person": {"name": "find a person in {city}", "city": "find {name}"},
    "hire": {
        "job": "hire a person for {amount} coins in {city}",
        "city": "hire a {job} for {amount} coins",
        "amount": "hire a {job} in {city}",
    },
    "paint": {"item": "paint it {color}", "color": "paint the {item}"},
}
"""Function -> argument that is left out -> wording of the incomplete request."""

LIST_REQUESTS = ("please name {count} {heads}", "give me a list of {count} {heads}", "please write {count} {heads}")
OPEN_REQUESTS = ("name {single}", "give me {single}", "say {single}")
STORY_QUESTION = "how many are left ?"
STORY_CUE = "count :"

HEADS = {"habitat": "animals of the {category}", "kind": "kinds of {category}"}
SINGLES = {"habitat": "an animal of the {category}", "kind": "a good {category}"}
CATEGORY_FACTS = {
    "habitat": ("the {member} lives in the {category} .", "an animal of the {category} is the {member} ."),
    "kind": ("{member} is a {category} .", "a good {category} is {member} ."),
}
GEOGRAPHY = ("{city} is a city in {country} .", "{country} has the city {city} .")

EXTRA = (
    "( ) { } : - + = . , ? please answer in upper case capital letters and end start finish begin with "
    "the word reply write name an animal that lives a kind of give list as me by way nice day i which country "
    "is where does live total how many are left now items call log ok your must use all large say one final "
    "number receives wins spends eats burns question sum note again from not no yes true false about people "
    "person then first last who what when why you he she it they was were be to do did has have had"
)
"""Words kept in the vocabulary for prompts written by hand, whether or not a template above contains them."""


def prompt_templates() -> tuple[str, ...]:
    """Every wording of every kind of prompt as a template with {slots}, for the contamination check.

    Two prompts of one template ask the same question only where their slots have the same values. A template comes
    before those that it begins with.
    """
    questions = [question for wordings in QUESTIONS.values() for question in wordings]
    calls = [request for wordings in CALL_REQUESTS.values() for request in wordings]
    calls += [request for wordings in INCOMPLETE_REQUESTS.values() for request in wordings.values()]
    return (
        *(f"{question} {REPLY} {{form}}" for question in questions),
        *questions,
        *(f"call : {request}" for request in calls),
        f"{{story}} {STORY_QUESTION}",
        *LIST_REQUESTS,
        *OPEN_REQUESTS,
    )
