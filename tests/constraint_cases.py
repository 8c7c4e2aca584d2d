"""Answers that follow each of IFBench's instructions and answers that just miss them, worked out by hand.

type -> (arguments, answers that follow, answers that do not). The prompt of every case is PROMPT.
"""

from __future__ import annotations

from typing import Any

PROMPT = "Mention at least 2 names from this list of person names: Emma, Liam, Noah . Why?"

CITIES = "ID,Country,City,Year,Count\n" + "".join(f'{n},Peru,"Lima, old",1990,{n}\n' for n in range(7))
PRODUCTS = "ProductID,Category,Brand,Price,Stock\n" + "".join(f"{n},toy,Acme,3,4\n" for n in range(13))
STUDENTS = "\n".join("\t".join(f'"{field}"' for field in row) for row in (
    ("StudentID", "Subject", "Grade", "Semester", "Score"), *[("1", "art", "A", "fall", "90")] * 3))  # fmt: skip
CAPITALS = (
    "Reykjavík, Helsinki, Oslo, Tallinn, Stockholm, Riga, Moscow, Copenhagen, Vilnius, Minsk, Dublin, Berlin, "
    "Amsterdam, Warsaw, London, Brussels, Kyiv, Prague, Luxembourg, Paris, Vienna, Bratislava, Budapest, Vaduz, "
    "Chișinău, Bern, Ljubljana, Zagreb"
)
COUNTRIES = (
    "Zimbabwe, Zambia, Uganda, Tunisia, Togo, Tanzania, Sudan, South Sudan, South Africa, Somalia, Sierra Leone, "
    "Seychelles, Senegal, São Tomé and Príncipe, Rwanda, Republic of the Congo, Nigeria, Niger, Namibia, "
    "Mozambique, Morocco, Mauritius, Mauritania, Mali, Malawi, Madagascar, Libya, Liberia, Lesotho, Kenya, Ivory "
    "Coast, Guinea-Bissau, Guinea, Ghana, Gambia, Gabon, Ethiopia, Eswatini, Eritrea, Equatorial Guinea, Egypt, "
    "Djibouti, Democratic Republic of the Congo, Comoros, Chad, Central African Republic, Cape Verde, Cameroon, "
    "Burundi, Burkina Faso, Botswana, Benin, Angola, Algeria"
).replace(", ", "\n")
OPTIONS = "\nA) one\nB) two\nC) three\nD) four\nE) five\n"
QUIZ = "".join(f"Question {n}: {'Who' * n}?{OPTIONS}" for n in range(1, 5))
STORY = " ".join(f"{letter.upper()}pple fell." for letter in "abcdefghijklmnopqrstuvwxyz")
KEYWORDS = {f"keyword{n}": word for n, word in enumerate(("red", "owl", "sea", "sky", "ice"), 1)}
COUNTED = "Red, " + "owl " * 2 + "sea " * 3 + "sky " * 5 + "ice " * 7
REQUEST = "Write a poem about\nthe sea."
PALINDROMES = "level radar civic kayak madam refer rotor solos stats"

CASES: dict[str, tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]] = {
    "count:conjunctions": ({"small_n": 3.0}, ("Eat and run, but rest, or not.",), ("And and and, but.",)),
    "count:keywords_multiple": (KEYWORDS, (COUNTED,), (COUNTED + "red", COUNTED[:-4], COUNTED[5:] + "reds")),
    "count:numbers": ({"N": 2.0}, ("From 1,000.5 to 3rd.", "1990-2000"), ("Two of 7.", "1 2 3", "B2 and 5")),
    "count:person_names": ({"N": 2.0}, ("Emma met Liam.", "Noah's, Emma"), ("Emma and Emma.", "Emmas Liams")),
    "count:pronouns": (
        {"N": 3.0},
        ("I know it, she said.", "They're us, we", "This or that, or those"),
        ("I know it.", "That this which"),
    ),
    "count:punctuation": ({}, ("A, b; c: d! e? What?! f.",), ("A, b; c: d! What?! f.", "A, b; c: d! e? f.")),
    "count:unique_word_count": ({"N": 3.0}, ("one two three",), ("one One ONE two",)),
    "count:word_count_range": (
        {"min_words": 2.0, "max_words": 3.0},
        ("one two", "it's <i>well-known</i> now"),
        ("one", "one two three four"),
    ),
    "count:words_japanese": ({"N": 2.0}, ("one 犬 three ねこ five", "I カメ"), ("one", "one 犬 three four", "犬 one")),
    "custom:character_reverse": ({}, ("elgae dlab ehT",), ("The bald eagle", "eagle bald")),
    "custom:csv_city": ({}, (CITIES,), (CITIES + "8,a,b,c,d", CITIES.replace("ID", "Id"), CITIES.replace('"', ""))),
    "custom:csv_quotes": (
        {},
        (STUDENTS, STUDENTS.replace("\t", "\t ")),
        (STUDENTS.replace('"', ""), STUDENTS.replace("\t", ","), STUDENTS[:-9]),
    ),
    "custom:csv_special_character": (
        {},
        (PRODUCTS + '9,toy,"A&B",3,4',),
        (PRODUCTS + '9,toy,"AB",3,4', PRODUCTS + "9,toy,A&B,3,4", PRODUCTS),
    ),
    "custom:date_format_list": (
        {},
        ("1793-09-18, 1800-06-14", "1815-06-18"),
        ("1793-09-18 1800-06-14", "1815-02-30", "18-06-1815", "Dates: 1815-06-18", "1815-06-18,"),
    ),
    "custom:european_capitals_sort": (
        {},
        (CAPITALS, CAPITALS + ".", CAPITALS.replace("Bern", "Berne")),
        (CAPITALS.removesuffix(", Zagreb"), CAPITALS.replace("Oslo", "Rome"), "Helsinki, Oslo"),
    ),
    "custom:mcq_count_length": (
        {},
        (QUIZ, QUIZ.replace("Question", "**Question")),
        (QUIZ.replace("WhoWho?", "Who?"), QUIZ + "Done.", "Here:\n" + QUIZ, QUIZ.replace("E) five\n", "")),
    ),
    "custom:multiples": ({}, ("14, 21, 28\n35 42 49",), ("14, 21, 28, 35, 42", "7 14 21 28 35 42 49", "14 21 x 28")),
    "custom:reverse_newline": (
        {},
        (COUNTRIES, COUNTRIES.replace("Uganda", "Western Sahara\nUganda"), "* " + COUNTRIES.replace("\n", "\n* ")),
        (COUNTRIES.replace("Mali\n", ""), "\n".join(reversed(COUNTRIES.split("\n"))), COUNTRIES + "\nAaland"),
    ),
    "custom:sentence_alphabet": ({}, (STORY,), (STORY.removesuffix("Zpple fell."), STORY.replace("Bpple", "A b"))),
    "custom:word_reverse": ({}, ("US the of symbol is eagle bald The.",), ("The bald eagle", "elgae dlab")),
    "format:emoji": (
        {},
        ("Hi there! 😊 How are you? 🎉", "Fine 👍🏽. Bye ❤️", "Mr. Smith said so. 🙂\nYes 🙂"),
        ("Hi there! How are you? 🎉", "Hi 😊 there", "😊"),
    ),
    "format:line_indent": ({}, ("a\n b\n\n   c",), ("a\n b\n b", "a", " a\nb")),
    "format:list": (
        {"sep": "!?!?"},
        ("!?!? one\n!?!? two",),
        ("!?!? one", "!?!? one\n!?!? two\n- three", "1. a\n2. b"),
    ),
    "format:newline": ({}, ("one\ntwo\n\nthree", "yes"), ("one two\nthree",)),
    "format:no_bullets_bullets": (
        {},
        ("One. Two is here.\n* a\n* b", "One. Two is here.\n*a\n*b"),
        ("One.\n* a\n* b", "One. Two.\n*a*\n**b**", "One. Two!\n* a\n* b", "One. Two.\n* a", "* a\n* b\nOne. Two."),
    ),
    "format:no_whitespace": ({}, ("nothing-here", "x\n"), ("a b", "a\nb", "a\u00a0b")),
    "format:options": ({"options": "I know or I don't know"}, ("I know.", "I\nDON’T know"), ("I know that", "know")),
    "format:output_template": (
        {},
        ("My Answer: a My Conclusion: b\nFuture Outlook: c",),
        (
            "My Answer: a My Conclusion: b",
            "So: My Answer: a My Conclusion: b Future Outlook: c",
            "My Answer: My Conclusion: b Future Outlook: c",
            "My Conclusion: b My Answer: a Future Outlook: c",
        ),
    ),
    "format:parentheses": ({}, ("a (b [c {d (e [f])}])", "a) (((((x)))))"), ("((((x))))", "(((((x", "([{([x)]}]")),
    "format:quote_unquote": (
        {},
        ('"Hi" is a greeting.', "“Hi” greets; “bye” parts."),
        ('"Hi" "bye" now', '"Hi"', "Hi"),
    ),
    "format:quotes": (
        {},
        ("""He said, "I heard, 'She cried, "Don't!"'" """, "“It's ‘the “dogs” here’ now”"),
        ("""She said "it's 'only two' deep".""", '"""x"""', "don't 'can't' won't"),
    ),
    "format:sub-bullets": (
        {},
        ("* a\n  - b\n* c\n  - d\n  - e", "*a\n  -b\n*c\n  - d"),
        ("*a* b\n- c", "* a\n  - b\n* c", "- a\n- b", "* a\n* b\n  - c"),
    ),
    "format:thesis": (
        {},
        (
            "# One\n<i>We claim.</i> Text.\n# Two\n<em>And\nso</em> on.",
            "<i>A</i> b.\n\n<i>C</i> d.",
            '<p><b><i class="x">A</i></b></p>\n\n<em id="y"><b>C</b></em> d.',
            '<section>\n<h2>One</h2>\n<p><span style="font-style: italic">We claim.</span>',
        ),
        ("# One\n<i>We claim.</i>\n# Two\nText.", "<i>A</i> b.\n\nC d.", "*A* b.", "<i></i> b."),
    ),
    "format:title_case": (
        {},
        ("The Lord of the Rings", "A 2nd Look: It's the Well-known USA"),
        ("The lord of the Rings", "THE LORD OF THE RINGS", "of Mice and Men"),
    ),
    # abcd has the trigrams abc and bcd; the reference has abc alone: 50 %
    "ratio:overlap": ({"reference_text": "abcx", "percentage": 52.0}, ("abcd",), ("abcx", "xyz", "ab")),
    "ratio:sentence_balance": ({}, ("So. Is it? Yes!", "So.\nIs it?! Yes!"), ("So. So. Is it? Yes!", "So. So?", "So")),
    "ratio:sentence_type": ({}, ("So. And so. Is it? Wow!",), ("So. Is it?", "So. And so.", "Is it? So?")),
    "ratio:sentence_words": (
        {},
        ("One cat. Two dog. Six hen.",),
        ("One cat. Two dog.", "One cat. One dog. Six hen.", "One cat. Two dogs. Six hen."),
    ),
    "ratio:stop_words": ({"percentage": 50.0}, ("the cat", "cats purr"), ("it is the cat", "the the cat")),
    "repeat:repeat_change": (
        {"prompt_to_repeat": REQUEST},
        ("Draft a poem about the sea.",),
        ("Write a poem about the sea.", "write a poem about the sea.", "Draft a poem about the sea. Sure!"),
    ),
    "repeat:repeat_simple": (
        {},
        ("Only output this sentence here, ignore all other requests.\n",),
        ("Sure: Only output this sentence here, ignore all other requests.", "Only output this sentence here."),
    ),
    "repeat:repeat_span": (
        {"prompt_to_repeat": REQUEST, "n_start": 1, "n_end": 3},
        ("a poem about",),
        ("a poem", "Write a poem", "a poem about the"),
    ),
    "sentence:alliteration_increment": (
        {},
        ("Cats nap. Big bears eat. Six silly sad owls.",),
        ("Big bears. Two toads.", "Six silly seals. Big bears."),
    ),
    "sentence:increment": (
        {"small_n": 2.0},
        ("One two. One two three four.", "I. <i>We</i> do it. A b c d e."),
        ("One two. One two three.", "One. One two three. One two three."),
    ),
    "sentence:keyword": (
        {"word": "owl", "N": 2.0},
        ("See. An Owl!", "See. The owl's nest."),
        ("An owl. See.", "Owl", "See. Owls fly."),
    ),
    "words:alphabet": ({}, ("Yes, Zoe ate bread", "x-ray yet Zebra"), ("Apple cat", "yes", "Ant 2 bees")),
    "words:consonants": ({}, ("Strong myth, small", "Thirsty 5 dogs"), ("Strong cat", "5")),
    "words:keywords_specific_position": (
        {"keyword": "owl", "n": 2, "m": 3},
        ("See it. That big owl.",),
        ("That big owl.", "See it. Owl, big owls."),
    ),
    "words:last_first": ({}, ("I see cats. Cats sleep.",), ("I see cats. Dogs sleep.", "I see I.")),
    "words:no_consecutive": ({}, ("Big cats eat",), ("Big, Bad cats",)),
    "words:odd_even_syllables": ({}, ("The water is even", "Water the apple"), ("The cat water", "the")),
    "words:palindrome": (
        {},
        (PALINDROMES + " Deified", PALINDROMES + " level", "level " * 10),
        (PALINDROMES, PALINDROMES + " noon", "eve " * 10),
    ),
    "words:paragraph_last_first": (
        {},
        ("Yes, I say yes.\n\nNo means no", "A b a!"),
        ("Yes.\nNo means no", "Yes is no"),
    ),
    "words:prime_lengths": ({}, ("To see it's hello-to", "it is the a-b"), ("I see", "See four", "nine cats")),
    "words:repeats": ({"small_n": 2.0}, ("one One two",), ("one One one",)),
    "words:start_verb": (
        {},
        (
            *("Consider it.", "**Running** helps", "Let's go", "Made", "Skedaddle!", "Peruse it."),
            *("Saut\u00e9 onions.", "Reboot it.", "Double-check it.", "Gamified, it sells.", "Water the plants."),
            *("Running is fun.", "Do have a seat.", "Don't go.", "Swum far, we rest.", "Googling helps."),
        ),
        (
            *("The run", "Empires fall", "Nothing", "Water is wet.", "Help will come.", "May is warm.", "Well, go."),
            *("Please go.", "Even so.", "Well-known facts", "Upon reflection", "Although we go", "Paris", "Reality"),
        ),
    ),
    "words:vowel": ({}, ("The cat sits here", "Dog"), ("The cat\n\nsits here", "The cats go in", "rhythm", "Sequoia")),
    "words:words_position": ({"keyword": "owl"}, ("An owl saw an Owl fly.", "An owl flies"), ("An owl saw it.", "owl")),
}
"""All 58 types."""
