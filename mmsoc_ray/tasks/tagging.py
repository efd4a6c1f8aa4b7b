"""Tagging: the topics of a video, from its title, description and thumbnail."""

from mmsoc_ray.tasks.metric_names import TAGGING_METRICS
from mmsoc_ray.tasks.parsing import TagParser
from mmsoc_ray.tasks.task import Task

_TOPICS = (
    "Action-adventure_game Action_game American_football Association_football Baseball Basketball Boxing Business "
    "Casual_game Christian_music Classical_music Country_music Cricket Electronic_music Entertainment Fashion Film "
    "Food Golf Health Hip_hop_music Hobby Humour Ice_hockey Independent_music Jazz Knowledge Lifestyle Military "
    "Mixed_martial_arts Motorsport Music Music_of_Asia Music_of_Latin_America Music_video_game Performing_arts Pet "
    "Physical_attractiveness Physical_fitness Politics Pop_music Professional_wrestling Puzzle_video_game "
    "Racing_video_game Reggae Religion Rhythm_and_blues Rock_music Role-playing_video_game Simulation_video_game "
    "Society Soul_music Sport Sports_game Strategy_video_game Technology Television_program Tennis Tourism Vehicle "
    "Video_game_culture Volleyball"
)
YOUTUBE_TOPICS = tuple(_TOPICS.split())
"""The 62 topics of MM-Soc (``YOUTUBE_TOPICS`` of its const.py, commit ac09d6c). Its prompt does not name them."""

TAGGING = Task(
    name="tagging",
    kind="tagging",
    prompt=(
        "Predict the tags of the following online video given its title, description, and thumbnail image. "
        'Different tags must be separated by commas. For example, "sports,tennis,french-open"'
    ),
    parse=TagParser(),
    metrics=TAGGING_METRICS,
    max_new_tokens=64,
    vocabulary=YOUTUBE_TOPICS,
    uses_text=True,
    description="Predicts the tags of an online video from its title, description and thumbnail.",
    source="MM-Soc (arXiv 2402.14154), mmsoc/const.py; YouTube2M",
)
