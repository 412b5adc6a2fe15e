"""Chinese headlines of three classes: 体育 (sports), 科技 (technology) and 财经 (finance).

The classes share most of their words: companies, cities, sums of money and verbs stand in all of
them, so that what is said decides and not one word. No held-out headline is among those that are
trained on.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from example import Example
from records import HELD_OUT, TRAIN, Record
from score import Score, share
from story import Story

from tessera.client import Client

WORDS: Mapping[str, Sequence[str]] = {
    "公司": ("华星集团", "东方电器", "蓝海公司", "长江实业", "新世纪集团", "天宇公司", "金桥控股"),
    "城市": ("北京", "上海", "广州", "成都", "武汉", "西安", "杭州", "南京"),
    "球队": ("北京国安", "上海海港", "山东泰山", "广东宏远", "辽宁本钢", "浙江队"),
    "选手": ("王磊", "李娜", "张伟", "陈静", "刘洋", "赵敏", "孙浩"),
    "比赛": ("联赛", "决赛", "马拉松", "亚洲杯", "锦标赛", "热身赛"),
    "产品": ("手机", "芯片", "机器人", "耳机", "电动车", "无人机", "卫星"),
    "技术": ("人工智能", "量子计算", "语音识别", "自动驾驶", "云计算", "图像识别"),
    "资产": ("股票", "债券", "基金", "黄金期货", "房地产", "外汇"),
    "结果": ("上涨", "下跌", "创新高", "回落"),
    "时间": ("昨天", "今晚", "本周", "上个月", "今年一季度", "周末"),
    "数": ("二", "三", "五", "八", "十二", "二十", "三十五"),
}

SHAPES: Mapping[str, Sequence[str]] = {
    "体育": (
        "{时间}{球队}在{城市}主场战胜{球队}",
        "{选手}{时间}夺得{城市}{比赛}冠军",
        "{公司}赞助{球队}{数}亿元",
        "{公司}冠名{城市}{比赛}",
        "{球队}投入{数}亿元引进{选手}",
        "{选手}在{比赛}中受伤,将缺席{数}个月",
        "{时间}{球队}的门票收入{结果}",
        "{球队}用上{技术}分析{比赛}",
        "{选手}佩戴{公司}的{产品}跑完{比赛}",
        "{球队}宣布{选手}离队",
    ),
    "科技": (
        "{公司}{时间}在{城市}发布新款{产品}",
        "{公司}投入{数}亿元研发{技术}",
        "{城市}建成{技术}实验室",
        "{选手}团队在{技术}上取得突破",
        "{公司}的{产品}用上{技术}",
        "新款{产品}的电池寿命提高{数}倍",
        "{时间}{城市}试运行{产品}送货",
        "{技术}帮助医生更早发现疾病",
        "{公司}宣布开放{技术}源代码",
        "{选手}展示能跑{比赛}的{产品}",
    ),
    "财经": (
        "{公司}{时间}股价{结果}百分之{数}",
        "{公司}投入{数}亿元购买{资产}",
        "{时间}{城市}{资产}价格{结果}",
        "{公司}发行{数}亿元债券",
        "{公司}{时间}净利润{结果}",
        "{公司}收购{城市}{产品}厂{数}成股份",
        "投资者看好{技术}概念股",
        "{产品}出口额{时间}{结果}",
        "央行{时间}下调利率,{资产}{结果}",
        "{公司}宣布裁员,{选手}出任董事长",
    ),
}

SHARES: Mapping[str, float] = {"体育": 0.4, "科技": 0.35, "财经": 0.25}
COUNT, ASKED = 3000, 600


def headline(draw: random.Random, label: str) -> str:
    """One headline of a class."""
    text = draw.choice(SHAPES[label])
    for kind, words in WORDS.items():
        for word in draw.sample(words, text.count(f"{{{kind}}}")):
            text = text.replace(f"{{{kind}}}", word, 1)
    return text


def samples() -> dict[str, list[Record]]:
    """What is trained on, and what is held out."""
    draw = random.Random(1)  # noqa: S311 - no secrets here
    found: dict[str, str] = {}
    while len(found) < COUNT + ASKED:
        label = draw.choices(list(SHARES), list(SHARES.values()))[0]
        found[headline(draw, label)] = label
    kept: list[Record] = [{"text": text, "label": label} for text, label in found.items()]
    return {TRAIN: kept[:COUNT], HELD_OUT: kept[COUNT:]}


class Chinese(Example):
    """A BERT that classifies headlines."""

    name = model = "chinese"
    family = "bert"
    task = "classification"
    jobs = ("chinese",)

    def data(self) -> Mapping[str, Sequence[Record]]:
        """Headlines and their classes."""
        return samples()

    def ask(self, story: Story) -> None:
        """Classify one headline of each class."""
        texts = {record["label"]: record["text"] for record in self.held_out()}
        story.tessera("classify", self.model, *texts.values())

    def score(self, client: Client) -> Score:
        """Accuracy, beside always saying the commonest class."""
        asked = self.held_out()
        found = client.classify(self.model, [record["text"] for record in asked], top_k=1)
        labels = [record["label"] for record in asked]
        return Score(
            measure="accuracy",
            ours=share([one.labels[0].label for one in found], labels),
            baseline=Counter(labels).most_common(1)[0][1] / len(labels),
            without="always the commonest class",
        )
