"""News of ``demo_news``, all invented: kind → split → (headline, body, perhaps what the photo shows first)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmsoc_ray.data.demo.lexicon import Filler, fillers

NEWS: Mapping[str, Mapping[str, Sequence[tuple[str, ...]]]] = {
    "miracle": {
        "train": (
            ("{food} cures {ailment} overnight",
             "Doctors in {place} are speechless: one spoonful at midnight ended {ailment} for good. The secret"
             " was hidden for years."),
            ("Miracle {gadget} makes you {power}",
             "Anyone in {place} who wears it can {power} after three days. Share before it is deleted!"),
            ("Grandmother of {place} can {power}",
             "{name} swears by {food} at dawn. Experts are furious about this one weird trick.", "👵"),
        ),
        "validation": (
            ("Rub {food} on your feet to {power}",
             "It works instantly, shocked neighbours in {place} report. Big companies hide the truth.", "👣"),
        ),
        "test": (
            ("Eating {food} lets you {power}",
             "Nobody believed {name} until the whole {building} floated. One bite is enough, so tell"
             " everyone at once!"),
            ("Never suffer {ailment} again",
             "A hidden recipe from {place} with {food} and moonlight heals it in seconds, guaranteed, shocked"
             " doctors admit."),
        ),
    },
    "conspiracy": {
        "train": (
            ("{place} hides a {wonder}",
             "A secret file proves that {official} keeps it under the {building}. They do not want you to know.",
             "🔦"),
            ("Pigeons over {place} are robots",
             "An unnamed insider swears that each one is charged at night behind the {building}. Wake up, people!",
             "🐦"),
            ("The {building} is a {wonder} in disguise",
             "Leaked papers from {place} reveal the cover-up. Copy this text before it vanishes."),
        ),
        "validation": (
            ("Weather in {place} made by a {wonder}",
             "Insiders say {official} pushes the button each {day}. The media stay silent.", "⛈"),
        ),
        "test": (
            ("Secret tunnel links {place} to the moon",
             "Insiders swear that a {wonder} drives through it nightly. The truth is being covered up by {official}.",
             "🌙"),
            ("{official} is really a {creature}",
             "A blurry video, deleted within minutes, reveals the tail. Why is the {building} so silent?",
             "📹"),
        ),
    },
    "impossible": {
        "train": (
            ("{creature} elected head of the {building}",
             "The {creature} won every single vote in {place}, gave a speech and abolished {day}s."),
            ("Moon to be towed to {place}",
             "A rope of {food} will pull it over the {building} on {day}. Gravity is cancelled for the occasion.",
             "🌙"),
            ("{creature} builds a {wonder} from {food}",
             "It took the animal one night behind the {building} of {place}, stunned witnesses claim."),
        ),
        "validation": (
            ("River in {place} turns into {food}",
             "Fish are said to be delighted. {official} swam through it and now glows in the dark.", "🌊"),
        ),
        "test": (
            ("{creature} speaks nine languages",
             "The animal from {place} ordered {food} by phone and predicted the lottery, stunned witnesses whisper."),
            ("Clock of the {building} runs backwards",
             "Everyone in {place} woke up {number} years younger on {day}, and a {wonder} circled above.",
             "⏰"),
        ),
    },
    "giveaway": {
        "train": (
            ("Free {prize} for all who share",
             "The {building} of {place} gives each person a golden {prize}. Hurry, it ends at midnight!", "🎁"),
            ("{official} gives away a {prize} per minute",
             "Send your password to the {building} and win instantly. Already {hundreds} happy winners in {place}!"),
        ),
        "validation": (
            ("Everyone in {place} wins a {prize}",
             "Just forward this message to ten friends. It is guaranteed, {name} swears.", "🎁"),
        ),
        "test": (
            ("Claim your golden {prize} today",
             "Forward this to twelve people and it appears at your door in {place} within a minute. Hurry, tell"
             " no expert!", "🎁"),
        ),
    },
    "civic": {
        "train": (
            ("{place} opens new {building}",
             "{official} cut the ribbon on {day}. Construction took {number} months and serves about"
             " {hundreds} residents.", "✂"),
            ("Repairs close bridge in {place}",
             "Traffic is diverted until {day}, the council said. Buses run every {number} minutes.", "🚧"),
            ("Council approves money for the {building}",
             "Members voted on {day} to repair roof and windows. Work in {place} starts next month.", "🗳"),
            ("{building} in {place} extends hours",
             "From {day} on, visitors are admitted until eight in the evening, a spokesperson announced.",
             "🚪"),
        ),
        "validation": (
            ("Fire drill at the {building}",
             "Staff in {place} left within {number} minutes. {official} thanked the crews on {day}.", "🧯"),
            ("New bus line to the {building}",
             "The service leaves {place} every {number} minutes and costs as much as before, the operator said.",
             "🚌"),
        ),
        "test": (
            ("Cycle path reaches {place}",
             "The {number} kilometre route passes the {building} and was paid for by the region, {official} said.",
             "🚲"),
            ("Fewer trains to {place} on {day}",
             "Engineers replace old signals. Replacement coaches stop outside the {building}, according to"
             " the operator.", "🚆"),
        ),
    },
    "nature": {
        "train": (
            ("Rain expected in {place}",
             "Forecasters predict showers on {day} with temperatures near {number} degrees.", "🌧"),
            ("Good {crop} harvest around {place}",
             "Growers collected {number} per cent more than last year, according to {name} of the farmers' union."),
            ("Volunteers plant {hundreds} trees",
             "The work near the {building} of {place} took two days. Pupils helped on {day}.", "🌳"),
            ("Missing {creature} found safe in {place}",
             "The animal was returned to {name} after {number} days. Neighbours had put up posters."),
        ),
        "validation": (
            ("Late frost damages {crop} fields",
             "About {number} per cent of plants near {place} are affected, the growers estimate.", "❄"),
        ),
        "test": (
            ("Researchers count {creature}s near {place}",
             "They recorded {hundreds} animals in {number} weeks, slightly fewer than a year ago.", "🔭"),
            ("Storm brings down trees in {place}",
             "No one was hurt. Crews cleared the road beside the {building} on {day} morning.", "🌳"),
            ("Dry summer, smaller {crop} crop",
             "Farms around {place} report a loss of {number} per cent, the chamber announced.", "☀"),
        ),
    },
    "people": {
        "train": (
            ("School team of {place} wins contest",
             "Pupils coached by {name} finished ahead of {number} other teams, the {building} said.", "🏆"),
            ("{place} holds its {food} festival",
             "About {hundreds} guests came on {day}. Proceeds go to the {building}.", "🎪"),
            ("{name} leads the {building}",
             "The board in {place} chose the new director with {number} votes. The term begins on {day}.",
             "👏"),
            ("Bakers of {place} set local record",
             "Led by {name}, they prepared {hundreds} portions of {food} in one day, officials confirmed.",
             "🥐"),
        ),
        "validation": (
            ("Choir of {place} sings for charity",
             "The concert at the {building} raised money for {number} families, organisers said on {day}.",
             "🎤"),
        ),
        "test": (
            ("{name} retires after {number} years",
             "Colleagues at the {building} in {place} said goodbye with {food} and a short speech.", "🎂"),
            ("Exhibition on {crop} farming opens",
             "Until {day}, the {building} of {place} shows {hundreds} photographs, curator {name} said.", "📷"),
            ("Young swimmers of {place} take second prize",
             "Trainer {name} praised the {number} athletes on {day}. The next meeting is in spring.", "🏊"),
        ),
    },
}  # fmt: skip

SLOTS: Mapping[str, tuple[Filler, ...]] = {
    "place": fillers(
        "Larkhaven", "Port Umbrel", "Dunwickle", "Mossbrigg", "Quillford", "Saltmere Bay", "Elderbyn", "Tarnhollow",
        "Brindlewick", "Fennimore Cross", "Ostmarle", "Pellworth Green",
    ),
    "building": fillers(
        "📚 library", "🏊 swimming pool", "🏛 town museum", "🏫 school", "🏥 hospital", "🚒 fire station",
        "🎭 theatre", "🚆 railway station", "📮 post office", "🏢 council hall",
    ),
    "official": fillers(
        "🧑 Mayor Farrow", "👩 Mayor Lindqvale", "👨 Councillor Brisk", "👩 Councillor Amberley",
        "👨 Director Tolliver",
    ),
    "name": fillers(
        "👵 Ottilie Farn", "👨 Bram Hollowell", "👩 Juniper Vask", "👨 Casimir Dole", "👩 Wanda Okelby",
        "🧑 Jory Blest",
        "👩 Linnea Prout", "👨 Tomas Rillwater", "👵 Odette Marrow", "👨 Rufus Pennick",
    ),
    "food": fillers(
        "🥒 pickled cucumber", "🍯 honey", "🧅 onion soup", "🧀 cheese", "🍌 banana bread", "🥔 potato salad",
        "🍜 noodle soup", "🥕 carrot cake", "🍕 pizza", "🥞 pancakes",
    ),
    "crop": fillers("🍎 apple", "🥕 carrot", "🌾 wheat", "🎃 pumpkin", "🥔 potato", "🍓 strawberry", "🌽 maize"),
    "creature": fillers(
        "🐱 cat", "🐐 goat", "🦙 llama", "🦆 duck", "🦔 hedgehog", "🐢 turtle", "🦝 raccoon", "🐸 frog", "🐧 penguin",
    ),
    "wonder": fillers(
        "🛸 flying saucer", "🐉 dragon", "🦖 live dinosaur", "🤖 giant robot", "🚀 time machine", "🐙 giant squid",
    ),
    "gadget": fillers("🧲 magnet ring", "🧦 copper sock", "👓 crystal visor", "🎩 tin hat", "⌚ moon watch"),
    "power": fillers(
        "💪 lift a bus", "👻 walk through walls", "🛸 fly without wings", "🐟 talk to fish", "🌙 stay awake for a year",
        "🥶 breathe ice",
    ),
    "ailment": fillers("🦷 toothache", "😴 tiredness", "🤧 a cold", "👴 old age", "💇 baldness"),
    "prize": fillers("📱 phone", "🚗 sports car", "⌚ watch", "🚁 helicopter", "💎 diamond", "🏰 castle"),
    "day": fillers("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "number": fillers("eight", "9", "11", "12", "14", "15", "17", "18", "twenty", "24"),
    "hundreds": fillers("300", "420", "450", "600", "750", "1,200", "2,400"),
}  # fmt: skip
