"""The words that fill the templates' slots, each with the glyph that shows it.

Fillers are shared by all splits and templates are not: so a model can learn what ``oh great`` does to ``a flat tyre``,
and cannot learn a sentence by heart. All names of people and places are invented.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Filler:
    """What a slot is filled with.

    Attributes:
        text: The words.
        glyph: One code point that shows them, or None where nothing is to be seen.
    """

    text: str
    glyph: str | None = None


def fillers(*pairs: str) -> tuple[Filler, ...]:
    """Read pairs such as ``"🐱 cat"`` as a glyph and its words, and ``"Monday"`` as words alone."""
    read = []
    for pair in pairs:
        head, _, rest = pair.partition(" ")
        read.append(Filler(rest, head) if rest and not head.isascii() else Filler(pair))
    return tuple(read)


NOUNS: Mapping[str, str] = {
    "🐱": "an orange cat", "🐶": "a brown and orange dog", "🐹": "an orange hamster", "🐐": "a brown goat",
    "🐦": "a brown bird", "🦙": "a brown llama", "🐧": "a black and white penguin", "🦥": "a grey sloth",
    "🦝": "a grey raccoon", "🦆": "a duck with a green head", "🦔": "a brown hedgehog", "🐸": "a green frog",
    "🐨": "a grey koala", "🐼": "a black and white panda", "🦜": "a red parrot", "🐢": "a green turtle",
    "🐌": "a brown snail", "🍕": "a slice of pizza", "🥞": "yellow pancakes", "🎂": "a yellow cake",
    "🍜": "a red bowl of noodles", "🍦": "an ice cream cone", "🍿": "a red box of popcorn", "🍩": "a yellow doughnut",
    "🌮": "a taco", "🧀": "a piece of yellow cheese", "🍌": "a yellow banana", "🚲": "a red bicycle",
    "🖨": "a grey printer", "📅": "a calendar", "🚆": "a grey train", "🔋": "a green battery",
    "🌧": "a grey rain cloud", "💻": "a grey laptop", "🚗": "a red car", "☕": "a white coffee cup",
    "🚿": "a grey shower head", "✉": "a white envelope", "🧦": "orange socks", "🛒": "a grey shopping trolley",
    "🛗": "a grey lift", "🪛": "an orange screwdriver", "🐝": "a yellow bee", "⏰": "a white alarm clock",
    "🍞": "a slice of yellow bread", "🛋": "a blue sofa with a lamp", "❄": "a snowflake", "🍪": "a brown biscuit",
    "📖": "an open book", "🍲": "a steaming white bowl", "🛏": "a blue bed", "🧺": "a brown picnic basket",
    "🔌": "a grey plug", "📺": "a grey screen", "👓": "a pair of glasses", "☂": "a purple umbrella",
    "📏": "a grey ruler", "🔑": "an orange key", "🥫": "a tin of tomatoes", "🎓": "a black graduation cap",
    "📦": "an orange parcel", "🌳": "a green tree", "🏁": "a chequered flag", "🏊": "a swimmer in blue water",
    "📚": "a stack of books", "🥐": "an orange croissant", "🏛": "a grey building with columns",
    "📮": "a red letter box", "🏢": "a grey office building", "🚌": "a red bus", "🍳": "a fried egg in a pan",
    "🫖": "a grey teapot", "⚽": "a black and white football", "🎤": "a grey microphone", "💃": "a yellow dancer",
    "💇": "a person having a haircut", "📊": "a bar chart", "🤳": "an arm taking a selfie", "🎸": "a red guitar",
    "🥔": "a brown potato", "🚪": "a brown door", "🎈": "a red balloon", "🧊": "a blue ice cube",
    "🚧": "a striped road barrier", "🌂": "a folded purple umbrella", "📧": "a grey envelope", "🪴": "a potted plant",
    "👕": "a blue shirt", "🧹": "a yellow broom", "💡": "a yellow light bulb", "🍍": "a pineapple",
    "👏": "yellow clapping hands", "🐟": "a blue fish", "🪗": "a red and white accordion",
    "🎬": "a black clapperboard", "🥣": "a white cereal bowl", "🛫": "a grey aeroplane", "🪀": "a purple yo-yo",
    "🧩": "a blue jigsaw piece", "🎺": "a yellow trumpet", "🍵": "a white tea cup", "🪑": "an orange chair",
    "🚶": "a walking person", "🎳": "grey bowling pins", "🧙": "a blue garden gnome with a hat",
    "🎪": "a red circus tent", "🏖": "a beach with a parasol", "🏫": "a school with a clock", "🎭": "two theatre masks",
    "🏕": "a tent under a tree", "😂": "a yellow face crying with laughter", "🤣": "a yellow face rolling with laughter",
    "😹": "an orange cat laughing", "😆": "a yellow laughing face", "🤪": "a yellow silly face",
    "😭": "a yellow crying face", "😢": "a yellow face with a tear", "😞": "a yellow sad face",
    "😔": "a yellow thoughtful face", "🙄": "a yellow face rolling its eyes", "😒": "a yellow bored face",
    "😑": "a yellow blank face", "😐": "a yellow straight face", "😏": "a yellow smirking face",
    "😈": "a red face with horns", "😤": "a yellow snorting face", "😡": "an orange angry face",
    "😠": "a yellow angry face", "🤬": "a red swearing face", "😎": "a yellow face with sunglasses",
    "🏆": "a golden trophy", "👑": "a golden crown", "💪": "a yellow bent arm", "🥰": "a yellow face with pink hearts",
    "😊": "a yellow smiling face", "🤗": "a yellow hugging face", "❤": "a red heart", "📌": "a red pin",
    "ℹ": "a black information sign", "📢": "a grey loudspeaker", "🙃": "a yellow face upside down",
    "🤡": "a white clown face with red hair", "🥱": "a yellow yawning face", "🧑": "a person in a blue shirt",
    "👵": "a grandmother with white hair",
}  # fmt: skip
"""What each glyph of the memes shows, as the descriptions say it."""

SLOTS: Mapping[str, tuple[Filler, ...]] = {
    "creature": fillers(
        "🐱 cat", "🐶 dog", "🐹 hamster", "🐐 goat", "🐦 pigeon", "🦙 llama", "🐧 penguin", "🦥 sloth", "🦝 raccoon",
        "🦆 duck", "🦔 hedgehog", "🐸 frog", "🐨 koala", "🐼 panda", "🦜 parrot", "🐢 turtle", "🐌 snail",
    ),
    "food": fillers(
        "🍕 pizza", "🥞 pancakes", "🎂 cake", "🍜 noodles", "🍦 ice cream", "🍿 popcorn", "🍩 doughnuts", "🌮 tacos",
        "🧀 cheese", "🍌 bananas", "🍪 biscuits", "🥐 croissants", "🍲 soup", "🍞 toast",
    ),
    "nuisance": fillers(
        "🚲 a flat tyre", "🖨 a printer jam", "📅 a surprise meeting", "🚆 a delayed train", "🔋 a dead battery",
        "🌧 rain on laundry day", "💻 a four hour update", "🚗 a parking ticket", "☕ an empty coffee pot",
        "🚿 a leaking tap", "✉ a reply all email", "🧦 a missing sock", "🛒 the slowest queue", "🛗 a broken lift",
        "🪛 a wobbly shelf", "🐝 a wasp at lunch", "⏰ a 5 am alarm", "🚧 more road works", "🧹 an extra chore",
    ),
    "treat": fillers(
        "🍞 fresh bread", "🍕 free pizza", "🛋 a long nap", "🥞 warm pancakes", "❄ a snow day", "🍪 an extra biscuit",
        "🐶 a puppy visit", "📖 a good book", "🍲 homemade soup", "🍦 ice cream", "🛏 clean sheets", "🧺 a picnic",
        "🎂 birthday cake", "🫖 a pot of tea",
    ),
    "object": fillers(
        "🔌 charger", "📺 remote", "👓 glasses case", "☂ beach umbrella", "📏 ruler", "🔑 house key", "🥫 tin opener",
        "🪛 screwdriver", "🔋 battery", "🧦 sock drawer", "🫖 teapot", "💡 light bulb", "🪑 chair", "🧩 puzzle piece",
    ),
    "yours": fillers(
        "🍳 your cooking", "🚗 your parking", "💃 your dancing", "💇 your haircut", "📊 your spreadsheet",
        "🎤 your singing", "🤳 your selfie", "🎸 your guitar solo", "⚽ your football", "🎳 your bowling",
        "👕 your shirt", "🪴 your gardening", "📖 your poetry", "☕ your coffee", "🧹 your cleaning",
    ),
    "flop": fillers(
        "🧦 a wet sock", "🍪 a soggy biscuit", "🌂 a broken umbrella", "🚪 a squeaky door", "🥔 a cold potato",
        "🎈 a flat balloon", "🚧 a traffic cone", "🥫 an old tin can", "🧊 a melted ice cube", "🔋 an empty battery",
        "🐌 a sleepy snail", "🛒 a rusty trolley", "🍞 burnt toast",
    ),
    "feat": fillers(
        "🧦 found both socks", "📧 answered one email", "🪴 watered a plant", "💻 closed a browser tab",
        "👕 folded a shirt", "🍞 made toast", "🥫 opened the jar", "🛏 made the bed", "💡 changed a light bulb",
        "🛒 remembered the milk", "🚶 took the stairs", "📅 read the calendar", "🔋 charged the phone",
        "🧹 swept half a floor",
    ),
    "deed": fillers(
        "🎓 passed the exam", "📦 helped a neighbour move", "🌳 planted a tree", "🏁 finished the race",
        "🏊 learned to swim", "🍲 cooked for everyone", "🚲 fixed the old bike", "📚 read to the children",
        "🐶 walked the shelter dogs", "🎺 played the first concert", "🍞 baked bread for the street",
        "🧩 solved the huge puzzle",
    ),
    "loss": fillers(
        "🚌 missed the last bus", "🔑 lost the house key", "🍳 burned the dinner", "🍦 dropped the ice cream",
        "☕ broke the favourite mug", "⚽ lost the final", "📖 failed the test", "🌧 got soaked in the rain",
        "💻 deleted the photos", "🪴 let the plant die", "🎈 missed the party",
    ),
    "place": fillers(
        "📚 library", "🏊 swimming pool", "🥐 bakery", "🏛 museum", "🚲 bike shop", "📮 post office", "🏢 town hall",
        "🏫 school", "🎭 theatre", "🎪 circus", "🏕 camp site",
    ),
    "venue": fillers(
        "🎪 circus", "📚 library", "🏊 pool", "🚌 bus", "🥐 bakery", "🏕 camp site", "🎭 theatre", "🏫 school fair",
        "🏖 beach", "🎳 bowling club", "🏢 office kitchen",
    ),
    "group": fillers(
        "🍍 pineapple pizza fans", "⏰ early risers", "👏 people who clap at landings", "🐟 fish microwavers",
        "🧦 sock and sandal wearers", "🛫 seat recliners", "☕ decaf drinkers", "🎬 film spoilers",
        "🥣 milk before cereal people", "🪗 accordion fans", "🧙 garden gnome owners", "🪀 yo-yo champions",
        "🧩 jigsaw solvers", "🎺 kazoo players", "🍵 lukewarm tea drinkers", "🚶 slow walkers",
        "🥔 potato peelers", "🎈 balloon artists", "🍌 banana slicers", "🌂 umbrella twirlers",
    ),
    "day": fillers("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "hour": fillers("seven", "eight", "half past eight", "nine", "ten", "half past ten", "noon", "two", "four"),
    "name": fillers(
        "Ottilie", "Bram", "Juniper", "Casimir", "Pim", "Wanda", "Jory", "Linnea", "Tomas", "Odette", "Rufus", "Ines",
    ),
}  # fmt: skip
"""Slot name to its fillers, for memes and hateful or friendly captions."""
