"""Facts that everyone knows, and short texts with questions: the tables behind the suites facts and reading."""

FACTS: tuple[tuple[str, str, str, str, str], ...] = (
    ("What is the capital of France?", "Paris", "Lyon", "Madrid", "Berlin"),
    ("What is the capital of Japan?", "Tokyo", "Kyoto", "Seoul", "Beijing"),
    ("What is the capital of Egypt?", "Cairo", "Tunis", "Athens", "Tehran"),
    ("What is the capital of Canada?", "Ottawa", "Toronto", "Chicago", "Boston"),
    ("What is the capital of Italy?", "Rome", "Milan", "Vienna", "Lisbon"),
    ("What is the capital of Norway?", "Oslo", "Helsinki", "Riga", "Dublin"),
    ("What is the capital of Kenya?", "Nairobi", "Lagos", "Accra", "Lima"),
    ("What is the capital of Argentina?", "Buenos Aires", "Montevideo", "Santiago", "Caracas"),
    ("On which continent is Brazil?", "South America", "Africa", "Europe", "Asia"),
    ("On which continent is Nigeria?", "Africa", "Asia", "South America", "Europe"),
    ("On which continent is India?", "Asia", "Africa", "Europe", "Australia"),
    (
        "Which ocean lies between Europe and North America?",
        "the Atlantic",
        "the Pacific",
        "the Indian Ocean",
        "the Arctic Ocean",
    ),
    ("Which river flows through London?", "the Thames", "the Seine", "the Danube", "the Nile"),
    ("Which river flows through Cairo?", "the Nile", "the Rhine", "the Volga", "the Amazon"),
    ("Which is the highest mountain on Earth?", "Mount Everest", "Mont Blanc", "Mount Fuji", "Kilimanjaro"),
    ("Which is the largest planet of the solar system?", "Jupiter", "Mars", "Earth", "Venus"),
    ("Which planet is nearest to the Sun?", "Mercury", "Saturn", "Neptune", "Mars"),
    ("What does the Moon circle?", "the Earth", "the Sun", "Mars", "Jupiter"),
    ("Which star is nearest to the Earth?", "the Sun", "Sirius", "the Moon", "Venus"),
    ("Which planet is known for its rings?", "Saturn", "Mercury", "Venus", "Mars"),
    ("How many days has a week?", "seven", "five", "ten", "twelve"),
    ("How many months has a year?", "twelve", "ten", "seven", "twenty"),
    ("How many hours has a day?", "twenty-four", "twelve", "sixty", "thirty"),
    ("How many minutes has an hour?", "sixty", "ninety", "twenty-four", "one hundred"),
    ("How many legs has a spider?", "eight", "six", "four", "ten"),
    ("How many legs has an insect?", "six", "eight", "four", "twelve"),
    ("How many sides has a triangle?", "three", "four", "five", "six"),
    ("How many strings has a violin?", "four", "six", "eight", "three"),
    ("How many metres has a kilometre?", "one thousand", "one hundred", "ten", "five hundred"),
    ("How many grams has a kilogram?", "one thousand", "ten", "one hundred", "sixty"),
    (
        "At what temperature does water freeze?",
        "0 degrees Celsius",
        "50 degrees Celsius",
        "100 degrees Celsius",
        "20 degrees Celsius",
    ),
    (
        "At what temperature does water boil at sea level?",
        "100 degrees Celsius",
        "40 degrees Celsius",
        "0 degrees Celsius",
        "200 degrees Celsius",
    ),
    ("What is frozen water called?", "ice", "steam", "sand", "glass"),
    ("What is water called as a gas?", "steam", "ice", "oil", "smoke"),
    ("Which gas do people need to breathe?", "oxygen", "helium", "neon", "argon"),
    ("Which gas do plants take from the air?", "carbon dioxide", "helium", "neon", "hydrogen"),
    ("Which metal is liquid at room temperature?", "mercury", "iron", "gold", "copper"),
    ("What is the chemical formula of water?", "H2O", "CO2", "NaCl", "O2"),
    ("What is table salt made of?", "sodium and chlorine", "iron and oxygen", "carbon and hydrogen", "gold and silver"),
    ("Which metal do magnets attract?", "iron", "aluminium", "gold", "lead"),
    ("Which organ pumps blood through the body?", "the heart", "the liver", "the stomach", "the brain"),
    ("Which organ do people think with?", "the brain", "the lung", "the kidney", "the skin"),
    ("What do bees make?", "honey", "milk", "silk", "wool"),
    ("What do silkworms make?", "silk", "honey", "paper", "wax"),
    ("What does a caterpillar become?", "a butterfly", "a beetle", "a spider", "a frog"),
    ("What does a tadpole become?", "a frog", "a fish", "a snake", "a bird"),
    ("Which animal gives wool?", "a sheep", "a horse", "a hen", "a dog"),
    ("Which animal lays eggs?", "a hen", "a cow", "a cat", "a goat"),
    ("Which of these is a mammal?", "a whale", "a shark", "a crocodile", "a penguin"),
    ("Which of these is a bird that cannot fly?", "an ostrich", "an eagle", "a swallow", "an owl"),
    ("Where do fish breathe?", "under water", "in trees", "in caves", "in the clouds"),
    ("What does a carpenter work with?", "wood", "dough", "glass", "leather"),
    ("What does a baker make?", "bread", "shoes", "chairs", "clocks"),
    ("Who teaches children at a school?", "a teacher", "a sailor", "a farmer", "a judge"),
    ("Who flies an aeroplane?", "a pilot", "a tailor", "a butcher", "a painter"),
    ("Who puts out fires?", "a firefighter", "a dentist", "a singer", "a clerk"),
    ("What is bread made from?", "flour", "sand", "stone", "leaves"),
    ("What is cheese made from?", "milk", "water", "flour", "oil"),
    ("What is wine made from?", "grapes", "potatoes", "apples", "rice"),
    ("What is paper made from?", "wood", "iron", "wool", "salt"),
    ("What is glass made from?", "sand", "paper", "sugar", "milk"),
    ("Which colour do blue and yellow make when mixed?", "green", "red", "black", "white"),
    ("Which colour do red and white make when mixed?", "pink", "green", "blue", "brown"),
    ("What colour is the sky on a clear day?", "blue", "green", "brown", "purple"),
    ("What colour is fresh grass?", "green", "blue", "red", "white"),
    ("What colour is snow?", "white", "black", "red", "green"),
    ("In which season do leaves fall from the trees?", "autumn", "spring", "summer", "winter"),
    ("Which season follows winter?", "spring", "autumn", "summer", "winter"),
    ("Which day follows Monday?", "Tuesday", "Sunday", "Friday", "Thursday"),
    ("Which month follows March?", "April", "May", "January", "August"),
    ("In which direction does the sun rise?", "in the east", "in the west", "in the north", "in the south"),
    ("What does a compass needle point to?", "north", "west", "the sun", "the sea"),
    ("What does a thermometer measure?", "temperature", "weight", "time", "distance"),
    ("What does a clock show?", "the time", "the weather", "the price", "the distance"),
    ("What do scales measure?", "weight", "time", "colour", "sound"),
    ("What does one use to cut paper?", "scissors", "a spoon", "a broom", "a pillow"),
    ("What does one use to open a lock?", "a key", "a fork", "a rope", "a cup"),
    ("What does one wear on the feet?", "shoes", "gloves", "a hat", "a scarf"),
    ("What does one use when it rains?", "an umbrella", "a fan", "a candle", "a ladder"),
    ("What language is spoken in Spain?", "Spanish", "German", "Polish", "Greek"),
    ("What language is spoken in Austria?", "German", "Italian", "French", "Dutch"),
    ("What is the opposite of hot?", "cold", "warm", "red", "tall"),
    ("What is the opposite of early?", "late", "soon", "quick", "first"),
    ("What is the opposite of heavy?", "light", "large", "dark", "strong"),
    ("What is a young dog called?", "a puppy", "a kitten", "a calf", "a lamb"),
    ("What is a young cow called?", "a calf", "a foal", "a chick", "a puppy"),
    ("What is a young cat called?", "a kitten", "a cub", "a duckling", "a lamb"),
    ("Where does a king live?", "in a palace", "in a nest", "in a barn", "in a shell"),
    ("Where do birds raise their young?", "in a nest", "in a pond", "in a shoe", "in a drawer"),
    ("Where are books lent?", "in a library", "in a bakery", "in a stable", "in a garage"),
    ("Where do trains stop?", "at a station", "at a harbour", "at an airport", "at a farm"),
    ("Where do ships land?", "in a harbour", "at a station", "in a forest", "on a bridge"),
    ("Who wrote Romeo and Juliet?", "William Shakespeare", "Charles Dickens", "Jane Austen", "Mark Twain"),
    ("Who painted the Mona Lisa?", "Leonardo da Vinci", "Vincent van Gogh", "Pablo Picasso", "Claude Monet"),
    ("What force pulls things to the ground?", "gravity", "magnetism", "friction", "electricity"),
    ("Which is the longest: a day, a week, a month or a year?", "a year", "a day", "a week", "a month"),
    ("Which is the smallest: a mouse, a horse, a cow or a lion?", "a mouse", "a horse", "a cow", "a lion"),
    ("What do people use money for?", "to pay", "to sleep", "to breathe", "to swim"),
    ("What is a shape with four equal sides and right angles called?", "a square", "a circle", "a triangle", "a line"),
    ("Which instrument has black and white keys?", "a piano", "a drum", "a trumpet", "a harp"),
)
"""Question, right answer, three wrong ones."""

PEOPLE = ("Mara", "Tom", "Ines", "Olav", "Rosa", "Jun", "Petra", "Amir", "Lena", "Kofi")
THINGS = (
    ("bread", "bakery"),
    ("stamps", "post office"),
    ("apples", "market"),
    ("a lamp", "shop"),
    ("a ticket", "station"),
)
COLOURS = ("red", "green", "blue", "yellow", "white")
PLACES = ("in the kitchen", "under the stairs", "behind the door", "on the shelf", "in the garden")


def readings() -> list[dict[str, object]]:
    """Put texts and questions together: where, who, when, what colour."""
    found: list[dict[str, object]] = []
    for number in range(60):
        one, two = PEOPLE[number % 10], PEOPLE[(number * 3 + 1 + number // 10) % 10]
        two = two if two != one else PEOPLE[(number + 5) % 10]
        (thing, shop), colour, place = THINGS[number % 5], COLOURS[(number * 2 + 1) % 5], PLACES[(number // 2) % 5]
        hour = 7 + number % 5
        text = (
            f"{one} got up at {hour} and went to the {shop} to buy {thing}. {two} stayed at home and painted the old chair "
            f"{colour}. When {one} came back, the chair stood {place}."
        )
        asked = (
            (f"What did {one} buy?", thing, [other for other, _ in THINGS if other != thing]),
            (f"Which colour did {two} give the chair?", colour, [other for other in COLOURS if other != colour]),
            ("Where did the chair stand in the end?", place, [other for other in PLACES if other != place]),
            ("Who stayed at home?", two, [other for other in PEOPLE if other not in (two,)]),
        )
        question, right, wrong = asked[number % 4]
        rotated = wrong[number % len(wrong) :] + wrong[: number % len(wrong)]
        if number % 4 == 3:
            rotated = [one, *(other for other in rotated if other != one)]
        found.append({"ask": f"{text}\n\n{question}", "right": right, "wrong": rotated[:3]})
    return found
