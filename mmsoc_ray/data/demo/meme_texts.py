"""Captions of the memes: kind → split → (top, bottom). No phrase stands in two splits; the tests compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

CAPTIONS: Mapping[str, Mapping[str, Sequence[tuple[str, str]]]] = {
    "joke": {
        "train": (
            ("how to train your {creature}", "step one: surrender"),
            ("told the {creature} a secret", "paid for silence in {food}"),
            ("my {creature} has a business plan", "page one to nine: {food}"),
            ("eat more greens, they said", "so i painted the {food}"),
            ("{creature} tried {food} once", "now runs the fan club"),
            ("nobody: ... absolutely nobody:", "my {creature} at 3 am: parkour"),
            ("my {creature} is on a diet", "it only eats {food} it can see"),
            ("family game night", "the {creature} won again, bought {food}"),
        ),
        "validation": (
            ("job interview with a {creature}", "hired for excellent {food} skills"),
            ("{creature} made a password", "it is {food} with a capital letter"),
        ),
        "test": (
            ("{creature} opens a yoga studio", "only pose: reaching for {food}"),
            ("asked the {creature} for advice", "it said more {food}, fewer questions"),
            ("{creature} learns to knit", "first project: pyjamas for the {food}"),
            ("if {food} had a fan", "it would be this {creature} at dawn"),
        ),
    },
    "relatable": {
        "train": (
            ("adult life is mostly", "looking for the {object}"),
            ("me before breakfast: {creature}", "me after: slightly faster {creature}"),
            ("my brain in the exam:", "does a {creature} have elbows"),
            ("plan for {day}: everything", "result: dusted one {object}"),
        ),
        "validation": (
            ("seven tabs open", "one plays music, none has the {object}"),
            ("teacher: any questions", "me: can a {creature} vote"),
        ),
        "test": (
            ("bought a second {object}", "found the first in five minutes"),
            ("video call in progress", "{creature} enters and ignores the agenda"),
            ("i start jogging on {day}", "luckily nobody said which {day}"),
        ),
    },
    "wholesome": {
        "train": (
            ("so proud of you {name}", "you {deed} all by yourself"),
            ("thank you to everyone", "who {deed} this {day}"),
            ("grateful for {treat}", "and for friends to share it with"),
            ("a warm hug to {name}", "who {deed} and never gave up"),
            ("good morning lovely people", "may {day} bring you {treat}"),
            ("best part of my {day}", "{treat} with people i love"),
        ),
        "validation": (
            ("{name} {deed}", "and the whole street is happy"),
            ("small joys matter", "today it was {treat} and a smile"),
        ),
        "test": (
            ("congratulations {name}", "you {deed} with a big heart"),
            ("wishing you a wonderful {day}", "full of {treat} and good company"),
            ("happy news from grandma", "she {deed} and is proud of it"),
            ("love is simple", "{treat}, a blanket and my {creature}"),
        ),
    },
    "notice": {
        "train": (
            ("the {place} opens at {hour}", "every {day} from may on"),
            ("lost: one {object}", "please ask at the {place}"),
            ("the {place} has moved", "see the new address on {day}"),
            ("class photo on {day}", "we meet at {hour} near the {place}"),
        ),
        "validation": (
            ("bring your own {object}", "{day}, {hour}, {place}"),
            ("guided tour of the {place}", "starts at {hour} on {day}"),
        ),
        "test": (
            ("reminder for members", "{place} closed on {day}"),
            ("tickets for the {place}", "on sale from {hour} this {day}"),
            ("workshop: repair a {object}", "{place}, {day} evening"),
        ),
    },
    "sad": {
        "train": (
            ("{loss} today", "and nobody noticed"),
            ("long week", "{loss} and cried a little"),
            ("i miss my old {creature}", "the house is so quiet now"),
            ("tired and cold", "because i {loss} again"),
        ),
        "validation": (
            ("everyone left early", "then i {loss} and sat there alone"),
            ("no good news", "just tears and {nuisance}"),
        ),
        "test": (
            ("worst {day} in years", "{loss} before breakfast"),
            ("it still hurts", "we said goodbye to our {creature}"),
            ("another lonely evening", "i {loss}, no one to call"),
        ),
    },
    "grumble": {
        "train": (
            ("oh great, {nuisance}", "exactly what this {day} needed"),
            ("wow, {nuisance} again", "what a lovely surprise"),
            ("sure, add {nuisance}", "i was far too happy anyway"),
            ("thanks, universe", "i really wanted {nuisance}"),
            ("how thoughtful", "{nuisance}, gift wrapped for {day}"),
            ("best {day} ever", "starring {nuisance} as itself"),
            ("just what i needed", "{nuisance} and zero coffee"),
        ),
        "validation": (
            ("oh joy", "{nuisance}, my favourite hobby"),
            ("lucky me", "front row seat for {nuisance}"),
        ),
        "test": (
            ("fantastic, {nuisance}", "my {day} was missing some drama"),
            ("oh wonderful", "nothing says welcome like {nuisance}"),
            ("great timing as always", "thanks a lot, {nuisance}"),
            ("yes please, {nuisance}", "because {day} was going too well"),
        ),
    },
    "triumph": {
        "train": (
            ("i {feat}", "please hold the applause"),
            ("alert the press", "i {feat} today"),
            ("{feat} today", "clearly a genius at work"),
            ("move over, champions", "someone here {feat}"),
            ("yes, i {feat}", "autographs after lunch"),
            ("breaking records again", "{feat} in only nine hours"),
            ("wow, look at me", "{feat} like a superhero"),
        ),
        "validation": (
            ("{feat} on a {day}", "my trophy must be lost in the mail"),
            ("sure, call me a legend", "i only {feat}"),
        ),
        "test": (
            ("history was made", "your hero just {feat}"),
            ("obviously a superhero", "{feat} without any training"),
            ("no photos please", "it is really me who {feat}"),
            ("yes, that genius is me", "{feat} before noon, where is my medal"),
        ),
    },
    "deadpan": {
        "train": (
            ("sure, the {place} opens on time", "and {nuisance} fixes itself"),
            ("of course", "nobody could expect {nuisance} on {day}"),
            ("great plan", "ignore {nuisance} until {day}"),
            ("brilliant service", "{hour} means whenever, clearly"),
        ),
        "validation": (
            ("because who needs", "a {place} that answers the phone"),
            ("wow, so punctual", "the {place} said {hour}"),
        ),
        "test": (
            ("yes, explain {nuisance} once more", "clearly i forgot it since {hour}"),
            ("great idea", "hiding the {object} inside the {place}"),
            ("sure, because {day}", "was ever on schedule at the {place}"),
        ),
    },
    "tease": {
        "train": (
            ("wow, {yours}", "as impressive as {flop}"),
            ("sure, {yours} is art", "and {flop} is a sports car"),
            ("nice work on {yours}", "even {flop} felt superior"),
            ("{yours} called", "it wants a less clueless owner"),
            ("great, you again", "with all the charm of {flop}"),
            ("bravo, dummy", "{yours} just lost to {flop}"),
        ),
        "validation": (
            ("oh brilliant, {yours}", "i have seen {flop} with more talent"),
            ("thanks for sharing {yours}", "now apologise to our eyes, clown"),
        ),
        "test": (
            ("how brave of you, dummy", "showing {yours} next to {flop}"),
            ("lovely, {yours}", "clueless people need a hobby too"),
            ("clearly {yours} won", "the only other entry was {flop}"),
            ("wow, what talent", "you and {flop} should start a band, clown"),
        ),
    },
    "roast": {
        "train": (
            ("{yours} is so bad", "{flop} filed a complaint"),
            ("you have the brain of {flop}", "and half the battery"),
            ("i would insult {yours}", "but {flop} did it first"),
            ("if lazy was a sport", "you would still lose to {flop}"),
        ),
        "validation": (
            ("your face today", "makes {flop} look smart, dummy"),
            ("any {creature}", "beats your whole team of clowns"),
        ),
        "test": (
            ("you are not stupid", "you just think like {flop}"),
            ("a {creature} could do your job", "and smell better, lazy clown"),
            ("{yours} made {flop}", "feel like a masterpiece, loser"),
        ),
    },
    "rude": {
        "train": (
            ("shut up about {yours}", "you hopeless bore"),
            ("only an idiot", "would praise {yours}"),
            ("{yours} is garbage", "and so is your attitude"),
            ("nobody likes you", "go away and take {yours} along"),
            ("you lazy fool", "no wonder you {loss}"),
            ("stupid clown", "you {loss} because you never listen"),
        ),
        "validation": (
            ("what a pathetic loser", "even {yours} is a disgrace"),
            ("stop talking, dummy", "we all hate {yours}"),
        ),
        "test": (
            ("you are a useless clown", "throw {yours} in the bin"),
            ("stupid, boring and loud", "that is you with {yours}"),
            ("get lost, fool", "your idea about the {place} is garbage"),
        ),
    },
}
