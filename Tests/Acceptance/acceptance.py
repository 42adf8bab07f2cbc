#!/usr/bin/env python3
"""Acceptance suite of the score path, against the Kafka brokers that KAFKA_BOOTSTRAP names.

The thing under test is the real binary, `uhan serve --config FILE`, started, killed, frozen and
stopped as processes. Another client library produces the posts and judges what came out, reading
with isolation.level=read_committed to the end. For every case it asks the same question:

    Is there, for every record produced, exactly one score or exactly one dead letter, of the right
    kind and content, in order for each input partition, and is every offset committed?

Each case has topics, a consumer group and transactional ids of its own, deleted at the end.
People's output goes to stderr, one line a case; stdout carries one JSON summary.
Exit code: 0 nothing failed, 1 a case failed, 2 nothing could be run.

Run it with Scripts/acceptance, which sets up the client library.
"""

import argparse
import base64
import collections
import dataclasses
import json
import math
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from kafka_proxy import KafkaProxy

# What the suite knows of the daemon beyond its configuration keys, each thing in this one place.

# A model small enough to score a post in milliseconds: what is tested is the path around it.
MODEL_INIT_OPTIONS = [
    *("--seed", "1", "--dimension", "16", "--dense", "16,16"),
    *("--side", "64", "--blocks", "4/4/8/8/8"),
]
NO_STATIC_MEMBERSHIP = ""  # as kafka.group_instance_id: a member without a name of its own
READY_WORD = "serving"  # in the message of the log line that says the daemon is up
SCORED_STATUS = "scored"
STOP_SECONDS = 10  # from SIGTERM to exit 0
# Each way to spoil a post, and the reason its dead letter must give.
REASONS = {
    "malformed": "malformed_event",
    "tombstone": "empty_value",
    "wrong_key": "key_mismatch",
    "missing_image": "image_refused",
    "forbidden_image": "image_refused",
    "not_a_jpeg": "image_undecodable",
}

PARTITIONS = 4
USERS = 40
SESSION_TIMEOUT_MILLISECONDS = 6_000  # the least that brokers allow by default
# A frozen instance's open transaction holds up every reader for this long.
TRANSACTION_TIMEOUT_MILLISECONDS = 40_000
# The feed stays this far ahead of what is committed, so that the daemon always has work, at
# whatever speed it scores, and yet is soon done when the feed ends.
MAXIMUM_UNCOMMITTED_POSTS = 64
MAXIMUM_POSTS_PER_SECOND = 200
BATCH_POSTS = 8
ZOMBIE_ROUNDS = 3
FREEZE_SECONDS = 20  # to find a moment with an open transaction
SETTLE_SECONDS = 0.5  # longer than a transaction of an instance that is not hindered
# On the way to and from the brokers. The steps of a transaction then take equally long, and a kill
# at a random moment falls between any two of them, instead of nearly always into the scoring.
DELAY_SECONDS = 0.005
LEARNING_CASES = "learn-"  # the beginning of the names of cases in which the daemon learns
WINDOW_POSTS = 32  # labelled posts that a user's record keeps
# Posts between a post and its view: some views come before their post is scored, some long after.
VIEW_DISTANCES = (0, 3, 100)
AUDIT_SECONDS = 120
SAMPLES = 3  # of each kind of fault, in the line that reports it

JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABQODxIPDRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVk"
    "VGZIhlbXd7gYKBTmCNl4x9lnN+gXz/2wBDARUXFx4aHjshITt8U0ZTfHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8"
    "fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHz/wAARCAAgADADASIAAhEBAxEB/8QAGAABAQEBAQAAAAAAAAAAAAAABAMCAA"
    "b/xAAbEAADAQEBAQEAAAAAAAAAAAAAAgMRQQETYf/EABkBAQACAwAAAAAAAAAAAAAAAAQBBQIDBv/EAB4RAAIDAAEF"
    "AAAAAAAAAAAAAAADARESFCFysdHw/9oADAMBAAIRAxEAPwDyqxwusc4LWOcNLHCJZg1rbZFY4XWOcFrHDSxzg2WYGL"
    "bZFY4csfpzPfBSx+n574KWOcMZZyO3z6mPug9baBLHOF1jgpY5w2scDSzBxq22AWOcLrHBSxzhtY4U8swWS22GWOF1"
    "jnBSxw2sc4TLMDlts//Z"
)
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAADElEQVR42mNgIB0AAAA0AAFIo31vAAAAAElFTkSuQmCC"
)


class Failure(Exception):
    """The daemon did something else than it must."""


class Skip(Exception):
    """The case cannot be run here; the text says why."""


def say(line):
    print(line, file=sys.stderr, flush=True)


# --- Kafka, as the suite sees it -----------------------------------------------------------------


class Cluster:
    """The brokers under test, through a client that is not the daemon's."""

    def __init__(self, bootstrap, properties):
        self.bootstrap = bootstrap
        self.properties = properties
        # Brokers that go away are part of the test: what the client thinks of it is not news.
        self._common = {"bootstrap.servers": bootstrap, "log_level": 2, **properties}
        self.admin = AdminClient(self._common)

    def check(self):
        self.admin.list_topics(timeout=10)

    def producer(self, **properties):
        return Producer(self._common | properties)

    def create_topics(self, names, compacted=()):
        topics = [
            NewTopic(
                name,
                num_partitions=PARTITIONS,
                replication_factor=-1,
                config={"cleanup.policy": "compact"} if name in compacted else {},
            )
            for name in names
        ]
        for future in self.admin.create_topics(topics).values():
            future.result(30)

    def delete_topics(self, names):
        for future in self.admin.delete_topics(names).values():
            try:
                future.result(30)
            except (KafkaException, TimeoutError) as error:
                say(f"     a topic could not be deleted: {error}")

    def delete_groups(self, groups):
        """Members with a name leave a group only when their session times out."""
        until = time.monotonic() + SESSION_TIMEOUT_MILLISECONDS / 1000 + 10
        while groups:
            remaining = []
            for group, future in self.admin.delete_consumer_groups(groups).items():
                try:
                    future.result(30)
                except KafkaException as error:
                    if _code(error) == KafkaError.NON_EMPTY_GROUP and time.monotonic() < until:
                        remaining.append(group)
                    elif _code(error) != KafkaError.GROUP_ID_NOT_FOUND:
                        say(f"     group {group} could not be deleted: {error}")
            groups = remaining
            time.sleep(0.5 if groups else 0)

    def end_offsets(self, topics, isolation=IsolationLevel.READ_UNCOMMITTED):
        """The end of each partition; with READ_COMMITTED its last stable offset."""
        request = {
            TopicPartition(topic, partition): OffsetSpec.latest()
            for topic in topics
            for partition in range(PARTITIONS)
        }
        answers = self.admin.list_offsets(request, isolation_level=isolation)
        return {(tp.topic, tp.partition): f.result(10).offset for tp, f in answers.items()}

    def has_open_transaction(self, topics):
        # In this order: an end seen first that is not stable later is in an open transaction.
        ends = self.end_offsets(topics)
        stable = self.end_offsets(topics, IsolationLevel.READ_COMMITTED)
        return any(stable[partition] < end for partition, end in ends.items())

    def committed(self, group, topic):
        """The group's committed offset of each partition, 0 where there is none."""
        partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        request = [ConsumerGroupTopicPartitions(group, partitions)]
        try:
            answer = self.admin.list_consumer_group_offsets(request)[group].result(10)
        except KafkaException as error:
            if _code(error) == KafkaError.GROUP_ID_NOT_FOUND:
                return {partition: 0 for partition in range(PARTITIONS)}
            raise
        return {tp.partition: max(tp.offset, 0) for tp in answer.topic_partitions}

    def members(self, group):
        """How many partitions each member of the group has."""
        try:
            answer = self.admin.describe_consumer_groups([group])[group].result(10)
        except KafkaException as error:
            if _code(error) == KafkaError.GROUP_ID_NOT_FOUND:
                return {}
            raise
        return {
            member.member_id: len(member.assignment.topic_partitions) if member.assignment else 0
            for member in answer.members
        }

    def read_committed(self, topic, deadline):
        """Every committed message of a topic, in order for each partition."""
        consumer = Consumer(
            self._common
            | {
                "group.id": f"judge-{uuid.uuid4()}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
            }
        )
        try:
            consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
            messages, finished = [], set()
            while len(finished) < PARTITIONS:
                if time.monotonic() > deadline:
                    raise Failure(f"{topic} could not be read to its end")
                message = consumer.poll(0.5)
                if message is None:
                    continue
                if message.error() is None:
                    messages.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    finished.add(message.partition())
                elif not message.error().retriable():
                    raise KafkaException(message.error())
            return messages
        finally:
            consumer.close()


def _code(error):
    kafka_error = error.args[0] if error.args else None
    return kafka_error.code() if isinstance(kafka_error, KafkaError) else None


# --- The posts -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Sent:
    """A record as it was produced; the ledger names it by (partition, offset)."""

    kind: str  # "good", or one of REASONS
    uid: str
    pid: str
    key: bytes
    value: bytes | None
    trace: bytes  # a header of its own, which a dead letter must keep


class Feed:
    """Produces posts in the background and keeps a ledger of where each one went."""

    def __init__(self, world, spoiled_share):
        self.ledger = {}
        self.viewed = set()  # pids of good posts whose view was produced
        self.error = None
        self._unviewed = []  # (number of the post at which it is due, the post)
        self._world = world
        self._spoiled_share = spoiled_share
        self._random = random.Random(world.random.random())
        self._kinds = list(REASONS)
        self._count = 0
        self._stop = threading.Event()
        # Kafka's own default partitioner: the posts lie where a Java producer would put them.
        self._producer = world.cluster.producer(
            **{"enable.idempotence": True, "linger.ms": 5, "partitioner": "murmur2_random"}
        )
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        self._stop.set()
        self._thread.join(30)

    def check(self):
        if self.error:
            raise self.error

    def send(self, count):
        for _ in range(count):
            sent = self._next()
            if self._world.learning and sent.kind == "good":
                self._unviewed.append((self._count + self._random.choice(VIEW_DISTANCES), sent))
            self._producer.produce(
                self._world.posts,
                key=sent.key,
                value=sent.value,
                headers={"trace": sent.trace},
                on_delivery=lambda error, message, sent=sent: self._record(error, message, sent),
            )
        self._view(lambda due: due <= self._count)
        if self._producer.flush(20) > 0:
            raise Failure("the posts could not be produced")

    def view_all(self):
        """Views all posts that have had no view yet."""
        self._view(lambda due: True)
        if self._producer.flush(20) > 0:
            raise Failure("the views could not be produced")

    def _view(self, is_due):
        due = [sent for number, sent in self._unviewed if is_due(number)]
        self._unviewed = [item for item in self._unviewed if not is_due(item[0])]
        for sent in due:
            view = {
                "uid": sent.uid,
                "pid": sent.pid,
                "views": self._random.randrange(1, 100_000),
                "observed_at": time.time() + 3600 + self._count,
            }
            # Every third is told twice: it is one label all the same.
            for _ in range(2 if len(self.viewed) % 3 == 0 else 1):
                self._producer.produce(
                    self._world.views, key=sent.key, value=json.dumps(view).encode()
                )
            self.viewed.add(sent.pid)

    def _run(self):
        tick_seconds = 0.1
        try:
            while not self._stop.wait(tick_seconds):
                lag = len(self.ledger) - self._world.committed_posts()
                room = MAXIMUM_UNCOMMITTED_POSTS - lag
                self.send(max(0, min(room, int(MAXIMUM_POSTS_PER_SECOND * tick_seconds))))
        except Exception as error:
            self.error = error

    def _record(self, error, message, sent):
        if error:
            self.error = Failure(f"a post could not be produced: {error}")
        else:
            self.ledger[message.partition(), message.offset()] = sent

    def _next(self):
        number = self._count
        self._count += 1
        kind = "good"
        if self._random.random() < self._spoiled_share:
            kind = self._kinds[number % len(self._kinds)]
        uid = f"{self._random.randrange(USERS)}@N{USERS}"
        post = {
            "uid": uid,
            "pid": str(number),
            "title": f"Rain over the harbour, take {number}",
            "alltags": "rain harbour night",
        }
        images = self._world.images
        if kind == "not_a_jpeg":
            post["image_base64"] = base64.b64encode(PNG).decode()
        elif kind == "missing_image":
            post["image_url"] = f"file://{images}/missing-{number}.jpg"
        elif kind == "forbidden_image":
            post["image_url"] = f"file://{images.parent}/outside.jpg"
        elif number % 3 == 0:
            post["image_base64"] = base64.b64encode(JPEG).decode()
        else:
            post["image_url"] = f"file://{images}/photo.jpg"
        key, value = uid.encode(), json.dumps(post).encode()
        if kind == "malformed":
            value = value[: len(value) // 2]
        elif kind == "tombstone":
            value = None
        elif kind == "wrong_key":
            key = b"not-" + key
        return Sent(kind, uid, str(number), key, value, b"%d" % number)


# --- The daemon ----------------------------------------------------------------------------------


class Daemon:
    """One process of `uhan serve`. Several may follow each other under one name."""

    def __init__(
        self,
        world,
        name,
        group_instance_id=NO_STATIC_MEMBERSHIP,
        transactional_id=None,
        session_timeout_milliseconds=SESSION_TIMEOUT_MILLISECONDS,
    ):
        self.name = name
        self._world = world
        self._log = world.directory / f"{name}-{uuid.uuid4().hex[:4]}.log"
        self.config = config = self._log.with_suffix(".yaml")
        kafka = {
            "bootstrap": world.proxy.bootstrap if world.proxy else world.cluster.bootstrap,
            "group_id": world.group,
            "group_instance_id": group_instance_id,
            "transactional_id": f"{world.group}-{transactional_id or name}",
            "properties": {
                "session.timeout.ms": str(session_timeout_milliseconds),
                "heartbeat.interval.ms": "500",
                "transaction.timeout.ms": str(TRANSACTION_TIMEOUT_MILLISECONDS),
                "reconnect.backoff.max.ms": "1000",
                **world.cluster.properties,
            },
        }
        settings = {
            "model": str(world.suite.model),
            "threads": 1,
            "delivery": world.suite.delivery,
            "topics": {
                "posts": world.posts,
                "scores": world.scores,
                "dead_letters": world.dead_letters,
            },
            "kafka": kafka,
            "batch": {"maximum_posts": BATCH_POSTS, "interval_milliseconds": 50},
            "images": {"file_roots": [str(world.images)], "schemes": ["file"]},
            "log": {"format": "json", "level": "info"},
        }
        if world.learning:
            settings["topics"] |= world.learning_topics
            settings["learning"] = {
                "enabled": True,
                "state_folder": str(world.directory / f"state-{name}"),
            }
        config.write_text("\n".join(_yaml(settings)) + "\n")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("UHAN_")}
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen(
                [world.suite.uhan, "serve", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        world.daemons.append(self)

    def wait_ready(self):
        self._world.wait(self._is_ready, 30, f"{self.name} to say that it is {READY_WORD}")
        return self

    def check_alive(self):
        code = self.process.poll()
        if code is not None:
            last = self._log.read_text(errors="replace").strip().splitlines()[-1:]
            raise Failure(f"{self.name} ended by itself, exit code {code}: {''.join(last)[:300]}")

    @property
    def alive(self):
        return self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def freeze_mid_transaction(self):
        """Stops the process while it holds a transaction open.

        Where it is never seen with one, the case goes on and fails at its end: what else went
        wrong says more. (At least once there are no transactions: it stops at any moment.)
        """
        world = self._world
        until = time.monotonic() + FREEZE_SECONDS
        while True:
            time.sleep(world.random.uniform(0, 0.05))
            self.check_alive()
            self.freeze()
            if not world.suite.exactly_once:
                return
            if world.holds_up_readers(world.output_ends()):
                # Others go on and end their transactions; what is still open then is its own.
                ends = world.output_ends()
                time.sleep(SETTLE_SECONDS)
                if world.holds_up_readers(ends):
                    world.numbers["mid_transaction"] += 1
                    return
            if time.monotonic() > until:
                world.faults.append(f"{self.name} was never seen with an open transaction")
                return
            self.thaw()

    def terminate(self, thawing=False):
        """SIGTERM; returns the seconds until the process had ended, with exit code 0."""
        self.check_alive()
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        if thawing:
            self.thaw()
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} was still there {STOP_SECONDS} s after SIGTERM") from None
        if code != 0:
            raise Failure(f"{self.name} ended with exit code {code} after SIGTERM")
        return time.monotonic() - start

    def _is_ready(self):
        self.check_alive()
        for line in self._log.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and READY_WORD in str(entry.get("msg", "")).lower():
                return True
        return False


def _yaml(settings, indent=""):
    """Block style, every string quoted as JSON does, which YAML reads the same."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from _yaml(value, indent + "  ")
        else:
            yield f"{indent}{key}: {json.dumps(value)}"


# --- The judge -----------------------------------------------------------------------------------


@dataclasses.dataclass
class Verdict:
    """What is wrong with what came out; empty lists all through where nothing is."""

    missing: list  # produced, but neither scored nor a dead letter
    duplicated: list  # came out more than once
    invented: list  # came out, but was never produced
    unordered: list  # came out after a later record of its input partition
    misplaced: list  # not in the partition that its key belongs to
    wrong: list  # scored instead of refused or the reverse, or of another content
    uncommitted: list  # partitions whose committed offset is not their end

    def faults(self):
        found = []
        for field in dataclasses.fields(self):
            faults = getattr(self, field.name)
            if faults:
                samples = ", ".join(str(fault) for fault in faults[:SAMPLES])
                found.append(f"{len(faults)} {field.name} ({samples})")
        return found


def judge(ledger, posts, scores, dead_letters, committed, ends, duplicates_allowed):
    """Compares what was produced with what came out.

    `ledger`: {(partition, offset): Sent} of topic `posts`; `scores` and `dead_letters`: messages,
    in order for each partition; `committed` and `ends`: {partition: offset} of topic `posts`.
    """
    verdict = Verdict([], [], [], [], [], [], [])
    times_seen = collections.Counter()
    for messages, origin_of, fault_of in (
        (scores, _origin_of_score, _fault_of_score),
        (dead_letters, _origin_of_dead_letter, _fault_of_dead_letter),
    ):
        last = {}  # (output partition, input partition) -> the latest origin that came out there
        for message in messages:
            try:
                topic, partition, offset = origin_of(message)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                verdict.wrong.append(f"{_place(message)} names no origin: {error!r}")
                continue
            origin = (partition, offset)
            sent = ledger.get(origin)
            if topic != posts or sent is None:
                verdict.invented.append(f"{topic}/{partition}@{offset}")
                continue
            times_seen[origin] += 1
            if times_seen[origin] > 1:
                verdict.duplicated.append(f"{partition}@{offset}")
                continue  # that a repeat comes late is the same fault
            stream = (message.partition(), partition)
            if last.get(stream, -1) > offset:
                verdict.unordered.append(f"{partition}@{offset} after @{last[stream]}")
            last[stream] = max(last.get(stream, -1), offset)
            # The topics have equal numbers of partitions, so equal keys lie in equal partitions.
            if message.partition() != partition:
                verdict.misplaced.append(f"{partition}@{offset} in {message.partition()}")
            fault = fault_of(message, sent)
            if fault:
                verdict.wrong.append(f"{partition}@{offset} ({sent.kind}): {fault}")
    verdict.missing = [f"{p}@{o} ({ledger[p, o].kind})" for p, o in ledger if not times_seen[p, o]]
    verdict.uncommitted = [
        f"{p}: {committed[p]} of {ends[p]}" for p in ends if committed[p] != ends[p]
    ]
    if duplicates_allowed:
        verdict.duplicated = []
    return verdict, sum(count - 1 for count in times_seen.values() if count > 1)


def _origin_of_score(message):
    origin = json.loads(message.value())["origin"]
    return origin["topic"], int(origin["partition"]), int(origin["offset"])


def _fault_of_score(message, sent):
    score = json.loads(message.value())
    if sent.kind != "good":
        return "scored"
    if score.get("status") != SCORED_STATUS:
        return f"status {score.get('status')!r}"
    if (score.get("uid"), score.get("pid")) != (sent.uid, sent.pid):
        return f"the score of uid {score.get('uid')!r} pid {score.get('pid')!r}"
    if message.key() != sent.uid.encode():
        return f"key {message.key()!r}"
    value = score.get("score")
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return f"score {value!r}"
    if not isinstance(score.get("flags"), list):
        return f"flags {score.get('flags')!r}"
    return None


def _origin_of_dead_letter(message):
    headers = dict(message.headers() or [])
    return (
        headers["uhan.topic"].decode(),
        int(headers["uhan.partition"]),
        int(headers["uhan.offset"]),
    )


def _fault_of_dead_letter(message, sent):
    headers = dict(message.headers() or [])
    if sent.kind == "good":
        return f"refused: {headers.get('uhan.reason')!r} {headers.get('uhan.error')!r}"
    if (headers.get("uhan.reason") or b"").decode() != REASONS[sent.kind]:
        return f"reason {headers.get('uhan.reason')!r}, not {REASONS[sent.kind]!r}"
    if message.key() != sent.key or message.value() != sent.value:
        return "another key or value than the post's"
    if headers.get("trace") != sent.trace:
        return "the post's own headers are gone"
    return None


def _place(message):
    return f"{message.topic()}/{message.partition()}@{message.offset()}"


def judge_learning(viewed, lessons, records, numbers):
    """Compares the views that were produced with what was told to the learner and what it kept.

    `viewed`: pids that must have one label each; `lessons` and `records` (of users): messages, in
    order for each partition.
    """
    told, by_user = collections.Counter(), collections.defaultdict(list)
    for message in lessons:
        lesson = json.loads(message.value())
        told[lesson["pid"]] += 1
        by_user[lesson["uid"]].append((lesson["pid"], lesson["label"], message.partition()))
    kept, versions = {}, collections.defaultdict(list)
    faults = []
    for message in records:
        state = json.loads(message.value())
        uid = state["uid"]
        if uid in kept and state["label_count"] != kept[uid][0]["label_count"] + 1:
            faults.append(f"the labels of {uid} do not count up: {state['label_count']}")
        kept[uid] = state, message.partition()
        if state["vectors"]:
            versions[uid].append(state["vectors"][-1]["version"])
    for uid, labels in by_user.items():
        if uid not in kept:
            faults.append(f"nothing is kept of {uid}")
            continue
        state, partition = kept[uid]
        window = [(post["pid"], post["label"]) for post in state["posts"]]
        if window != [(pid, label) for pid, label, _ in labels[-WINDOW_POSTS:]]:
            faults.append(f"the window of {uid} is not that of its lessons")
        if state["label_count"] != len(labels):
            faults.append(f"{state['label_count']} labels of {uid}, told {len(labels)}")
        if {partition} != {place for _, _, place in labels}:
            faults.append(f"{uid} is in several partitions")
        if sorted(set(versions[uid])) != list(range(1, len(set(versions[uid])) + 1)):
            faults.append(f"versions of {uid} are missing: {sorted(set(versions[uid]))}")
    missing = [pid for pid in viewed if not told[pid]]
    repeated = [pid for pid, count in told.items() if count > 1]
    for what, pids in (("untold labels", missing), ("labels told twice", repeated)):
        if pids:
            faults.append(f"{len(pids)} {what} ({', '.join(pids[:SAMPLES])})")
    numbers["labels"] = len(lessons)
    numbers["vectors"] = sum(len(set(found)) for found in versions.values())
    if lessons and not numbers["vectors"]:
        faults.append("no vector was ever updated")
    return faults[: 3 * SAMPLES]


# --- One case ------------------------------------------------------------------------------------


class World:
    """What one case needs: its topics, its group, its feed, its daemons, its clock."""

    def __init__(self, suite, case):
        self.suite = suite
        self.cluster = cluster = suite.cluster
        self.random = random.Random(f"{suite.seed}/{case}")
        self.group = f"uhan-acceptance-{suite.run}-{case}"
        self.posts, self.scores, self.dead_letters = self.topics = [
            f"{self.group}-{topic}" for topic in ("posts", "scores", "dead-letters")
        ]
        self.directory = suite.directory / case
        self.images = self.directory / "images"
        self.images.mkdir(parents=True)
        (self.images / "photo.jpg").write_bytes(JPEG)
        (self.directory / "outside.jpg").write_bytes(JPEG)
        self.learning = case.startswith(LEARNING_CASES)
        self.learning_topics = {}
        if self.learning:
            names = ("views", "lessons", "users", "joins", "encodings")
            self.learning_topics = {name: f"{self.group}-{name}" for name in names}
            self.topics += self.learning_topics.values()
            self.views = self.learning_topics["views"]
        self.numbers = collections.Counter()
        self.daemons = []
        self.faults = []  # found on the way, reported at the end
        self.feed = None
        self.proxy = None
        self.deadline = time.monotonic() + suite.case_seconds
        suite.groups.append(self.group)
        self.cluster.create_topics(
            self.topics,
            compacted=[
                topic
                for name, topic in self.learning_topics.items()
                if name in ("users", "joins", "encodings")
            ],
        )
        if not any(name.startswith(("security.", "ssl.", "sasl.")) for name in cluster.properties):
            self.proxy = KafkaProxy(cluster.bootstrap, DELAY_SECONDS)

    def start_feed(self, spoiled_share=0.1):
        self.feed = Feed(self, spoiled_share).start()

    def committed_posts(self):
        return sum(self.cluster.committed(self.group, self.posts).values())

    def has_open_transaction(self):
        return self.cluster.has_open_transaction([self.scores, self.dead_letters])

    def output_ends(self):
        return self.cluster.end_offsets([self.scores, self.dead_letters])

    def holds_up_readers(self, ends):
        """Whether a transaction that was open at these ends still is."""
        stable = self.cluster.end_offsets(
            [self.scores, self.dead_letters], IsolationLevel.READ_COMMITTED
        )
        return any(stable[partition] < end for partition, end in ends.items())

    def wait(self, condition, seconds, what):
        until = min(time.monotonic() + seconds, self.deadline)
        while not condition():
            if time.monotonic() > until:
                raise Failure(f"waited in vain for {what}")
            if self.feed:
                self.feed.check()
            time.sleep(0.05)

    def wait_progress(self, daemons, posts=2 * BATCH_POSTS, seconds=90):
        """Waits until so many more posts are done, while the daemons named stay alive."""
        goal = self.committed_posts() + posts

        def progressed():
            for daemon in daemons:
                daemon.check_alive()
            return self.committed_posts() >= goal

        self.wait(progressed, seconds, f"{posts} more posts to be done")

    def wait_assigned(self, counts, seconds, what):
        """Waits until the group's members have these numbers of partitions, in any order."""
        self.wait(
            lambda: sorted(self.cluster.members(self.group).values()) == sorted(counts),
            seconds,
            f"{what} (partitions of each member: {counts})",
        )

    def finish(self, working):
        """Ends the feed, waits until `working` are done with it, stops them, and judges."""
        self.feed.stop()
        self.feed.check()
        if self.learning:
            self.feed.view_all()
        ends = self._ends()

        def drained():
            for daemon in working:
                daemon.check_alive()
            if self.cluster.committed(self.group, self.posts) != ends:
                return False
            return not self.learning or self._is_learnt()

        try:
            self.wait(drained, 90, "every offset to be committed")
        except Failure as stuck:
            # What is there says more about what went wrong than that something is missing.
            raise Failure("; ".join([str(stuck), *self._judge(ends)])) from None
        for daemon in working:
            daemon.terminate()
        faults = self._judge(ends)
        if faults:
            raise Failure("; ".join(faults))

    def close(self):
        if self.feed:
            self.feed.stop()
        for daemon in self.daemons:
            if daemon.alive:
                daemon.kill()
        if self.proxy:
            self.proxy.close()
        self.cluster.delete_topics(self.topics)

    def _is_learnt(self):
        """Whether every view is joined and every lesson learnt."""
        ends = self.cluster.end_offsets([self.views])
        views = self.cluster.committed(self.group, self.views)
        if any(views[partition] != end for (_, partition), end in ends.items()):
            return False
        topic = self.learning_topics["lessons"]
        lessons = self.cluster.committed(self.group, topic)
        # What follows the last lesson in its partition is the mark of its transaction.
        told = self.cluster.read_committed(topic, self.deadline)
        return all(lessons[lesson.partition()] > lesson.offset() for lesson in told)

    def _judge_learning(self):
        lessons = self.cluster.read_committed(self.learning_topics["lessons"], self.deadline)
        records = self.cluster.read_committed(self.learning_topics["users"], self.deadline)
        faults = judge_learning(self.feed.viewed, lessons, records, self.numbers)
        return [*faults, *self._audit()]

    def _audit(self):
        """Whether all vectors are, bit for bit, what follows from the posts and the lessons."""
        command = [self.suite.uhan, "users", "audit", "--config", str(self.daemons[-1].config)]
        audit = subprocess.run(command, capture_output=True, text=True, timeout=AUDIT_SECONDS)
        if not audit.stdout:
            return [f"no audit: {audit.stderr.strip()[-300:]}"]
        report = json.loads(audit.stdout)
        self.numbers["audited_users"] = report["users"]
        self.numbers["audited_updates"] = report["updates"]
        if audit.returncode == 0 and report["users"] == report["equal"] > 0:
            return []
        return [f"users differ from the recomputation: {json.dumps(report)[:1000]}"]

    def _ends(self):
        ends = self.cluster.end_offsets([self.posts])
        return {partition: end for (_, partition), end in ends.items()}

    def _judge(self, ends):
        longest = TRANSACTION_TIMEOUT_MILLISECONDS / 1000 + 20
        self.deadline = max(self.deadline, time.monotonic() + longest + 30)
        self.wait(lambda: not self.has_open_transaction(), longest, "open transactions to end")
        scores = self.cluster.read_committed(self.scores, self.deadline)
        dead_letters = self.cluster.read_committed(self.dead_letters, self.deadline)
        verdict, duplicates = judge(
            dict(self.feed.ledger),
            self.posts,
            scores,
            dead_letters,
            self.cluster.committed(self.group, self.posts),
            ends,
            duplicates_allowed=not self.suite.exactly_once,
        )
        self.numbers["posts"] = len(self.feed.ledger)
        self.numbers["scores"] = len(scores)
        self.numbers["dead_letters"] = len(dead_letters)
        self.numbers["duplicates"] = duplicates
        learnt = self._judge_learning() if self.learning else []
        return [*self.faults, *verdict.faults(), *learnt]


# --- The cases -----------------------------------------------------------------------------------


def poison(world):
    """Every third post is spoiled: each one dead letter, and the flow goes on."""
    daemon = Daemon(world, "a").wait_ready()
    world.start_feed(spoiled_share=1 / 3)
    world.wait_progress([daemon], posts=30 * len(REASONS))
    world.finish([daemon])
    kinds = collections.Counter(sent.kind for sent in world.feed.ledger.values())
    unseen = [kind for kind in REASONS if not kinds[kind]]
    if unseen:
        raise Failure(f"the feed made none of {unseen}")


def crash(world):
    """kill -9 at random moments of its work, and start again under the same names."""
    world.start_feed()
    killed_ends = {}
    for _ in range(world.suite.rounds):
        daemon = Daemon(world, "a", group_instance_id="a").wait_ready()
        world.wait_progress([daemon], posts=1)
        # Its successor has ended the killed one's transaction, long before that times out.
        world.wait(
            lambda: not world.holds_up_readers(killed_ends),
            10,
            "the killed instance's transaction to be ended by its successor",
        )
        time.sleep(world.random.uniform(0, 0.5))
        daemon.kill()
        killed_ends = world.output_ends()
        world.numbers["kills"] += 1
        world.numbers["mid_transaction"] += world.has_open_transaction()
    if world.suite.exactly_once and not world.numbers["mid_transaction"]:
        world.faults.append("no kill met an open transaction")
    world.finish([Daemon(world, "a", group_instance_id="a").wait_ready()])


def terminate(world):
    """SIGTERM with work in hand: exit 0 in time, nothing left open, and start again."""
    world.start_feed()
    slowest_seconds = 0.0
    for number in range(max(2, world.suite.rounds // 2)):
        daemon = Daemon(world, "a").wait_ready()
        if number % 2 == 0:
            world.wait_progress([daemon], posts=1)
            daemon.freeze_mid_transaction()
        else:
            # At any moment, the joining of the group among them.
            time.sleep(world.random.uniform(0, 1.0))
        slowest_seconds = max(slowest_seconds, daemon.terminate(thawing=True))
        world.numbers["stops"] += 1
        if world.has_open_transaction():
            raise Failure("a transaction was left open at exit")
        # Sooner than the session timeout would have it.
        world.wait(
            lambda: not world.cluster.members(world.group),
            SESSION_TIMEOUT_MILLISECONDS / 1000 / 2,
            "the group to be left at exit",
        )
    world.numbers["slowest_stop_milliseconds"] = round(slowest_seconds * 1000)
    world.finish([Daemon(world, "a").wait_ready()])


def rebalance_dynamic(world):
    """A second instance comes, dies, comes again; then the first one is stopped."""
    _rebalance(world, static=False)


def rebalance_static(world):
    """The same, where the members of the group have names."""
    _rebalance(world, static=True)


def _rebalance(world, static):
    def start(name):
        instance = name if static else NO_STATIC_MEMBERSHIP
        return Daemon(world, name, group_instance_id=instance).wait_ready()

    # Of posts, and where the daemon learns of views and lessons too.
    everything = PARTITIONS * (3 if world.learning else 1)
    half = everything // 2
    settle_seconds = SESSION_TIMEOUT_MILLISECONDS / 1000 + 30
    first = start("first")
    world.start_feed()
    world.wait_progress([first])
    second = start("second")
    world.wait_assigned([half, half], settle_seconds, "the second instance to have its share")
    world.wait_progress([first, second])
    second.freeze_mid_transaction()
    second.kill()
    second = start("second")
    world.wait_assigned([half, half], settle_seconds, "the second instance to be back")
    world.wait_progress([first, second])
    first.freeze_mid_transaction()
    first.terminate(thawing=True)
    world.wait_assigned([everything], settle_seconds, "the second instance to have everything")
    world.wait_progress([second])
    world.finish([second])


def broker_away(world):
    """The brokers are away at the start, die, fall silent, for shorter and for longer."""
    proxy = world.proxy
    if proxy is None:
        raise Skip("the proxy that takes the brokers away speaks plain TCP only")
    proxy.cut()
    world.start_feed()
    daemon = Daemon(world, "a")
    _stay_alive([daemon], 3)
    proxy.restore()
    world.wait_progress([daemon])
    beyond_session_seconds = SESSION_TIMEOUT_MILLISECONDS / 1000 + 3
    _outage(world, daemon, proxy.cut, 2)
    _outage(world, daemon, proxy.stall, 3)
    _outage(world, daemon, proxy.cut, beyond_session_seconds)
    _outage(world, daemon, proxy.stall, beyond_session_seconds)
    daemon.terminate()
    # One that keeps its partitions while the coordinator ends its transaction, and with that its
    # producer's epoch: nothing but the daemon itself takes it back to where it had committed.
    beyond_transaction_seconds = TRANSACTION_TIMEOUT_MILLISECONDS / 1000 + 5
    daemon = Daemon(world, "a", session_timeout_milliseconds=120_000).wait_ready()
    world.wait_progress([daemon])
    _outage(world, daemon, proxy.cut, beyond_transaction_seconds)
    world.finish([daemon])


def _outage(world, daemon, take_away, seconds):
    daemon.freeze_mid_transaction()
    take_away()
    daemon.thaw()
    time.sleep(0.5)  # what was under way on the brokers' side may still end
    committed = world.committed_posts()
    _stay_alive([daemon], seconds)
    if world.committed_posts() != committed:
        raise Failure("the brokers were not really away: another way leads to them")
    world.proxy.restore()
    world.wait_progress([daemon])
    world.numbers["outages"] += 1


def zombie_taken_over(world):
    """An instance freezes mid-transaction, another takes its partitions, the first wakes up."""
    half = PARTITIONS // 2
    settle_seconds = SESSION_TIMEOUT_MILLISECONDS / 1000 + 30
    first = Daemon(world, "first").wait_ready()
    world.start_feed()
    world.wait_progress([first])
    second = Daemon(world, "second").wait_ready()
    for _ in range(ZOMBIE_ROUNDS):
        world.wait_assigned([half, half], settle_seconds, "both instances to have their share")
        world.wait_progress([first, second])
        first.freeze_mid_transaction()
        world.wait_assigned([PARTITIONS], settle_seconds, "the second instance to take over")
        # If the frozen one had sent its offsets, they are in doubt until its transaction times out.
        world.wait_progress([second], seconds=TRANSACTION_TIMEOUT_MILLISECONDS / 1000 + 30)
        first.thaw()
        world.wait_progress([second], posts=4 * BATCH_POSTS)
        # To end when fenced and to join again as a new member are both right.
        if not first.alive:
            world.numbers["zombie_ended"] += 1
            first = Daemon(world, "first").wait_ready()
    world.finish([first, second])


def zombie_replaced(world):
    """The same, but the other one comes under the frozen one's names, as an orchestrator does."""
    first = Daemon(world, "first", group_instance_id="only", transactional_id="only").wait_ready()
    world.start_feed()
    world.wait_progress([first])
    first.freeze_mid_transaction()
    second = Daemon(world, "second", group_instance_id="only", transactional_id="only")
    second.wait_ready()
    world.wait_progress([second])
    first.thaw()
    # The one that came later is the one that counts: the zombie must not fence it in turn.
    world.wait_progress([second], posts=8 * BATCH_POSTS)
    _stay_alive([second], 3)
    world.numbers["zombie_ended"] = int(not first.alive)
    if first.alive:
        first.kill()
    world.finish([second])


def learn_crash(world):
    """kill -9 in a loop while views flow; the state folder stays."""
    crash(world)


def learn_rebalance(world):
    """Two instances, each with a folder of its own, between which partitions move."""
    _rebalance(world, static=False)


def _stay_alive(daemons, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for daemon in daemons:
            daemon.check_alive()
        time.sleep(0.1)


CASES = {
    "poison": poison,
    "crash": crash,
    "terminate": terminate,
    "rebalance-dynamic": rebalance_dynamic,
    "rebalance-static": rebalance_static,
    "broker-away": broker_away,
    "zombie-taken-over": zombie_taken_over,
    "zombie-replaced": zombie_replaced,
    "learn-crash": learn_crash,
    "learn-rebalance": learn_rebalance,
}


# --- The suite -----------------------------------------------------------------------------------


@dataclasses.dataclass
class Suite:
    cluster: Cluster
    uhan: str
    model: pathlib.Path
    directory: pathlib.Path
    delivery: str
    rounds: int
    case_seconds: float
    seed: int
    run: str
    groups: list = dataclasses.field(default_factory=list)  # to be deleted at the end

    @property
    def exactly_once(self):
        return self.delivery == "exactly_once"

    def run_case(self, name):
        start = time.monotonic()
        world = None
        result, reason = "PASS", None
        try:
            world = World(self, name)
            CASES[name](world)
        except Skip as skip:
            result, reason = "SKIP", str(skip)
        except Failure as failure:
            result, reason = "FAIL", str(failure)
        except (KafkaException, TimeoutError, OSError) as error:
            result, reason = "FAIL", f"the suite itself could not go on: {error!r}"
        finally:
            if world:
                world.close()
        seconds = round(time.monotonic() - start, 1)
        numbers = dict(world.numbers) if world else {}
        shown = " ".join(f"{key}={value}" for key, value in numbers.items())
        say(f"{result} {name:<18} {seconds:6.1f} s  {shown}{'  ' + reason if reason else ''}")
        return {"case": name, "result": result, "seconds": seconds, "reason": reason} | numbers


def make_model(uhan, directory):
    command = [uhan, "model", "init", *MODEL_INIT_OPTIONS, "--output", str(directory)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)
    return directory


def parse_arguments():
    parser = argparse.ArgumentParser(
        description="Acceptance suite of the score path, against any Kafka brokers.",
        epilog="Example: KAFKA_BOOTSTRAP=localhost:9092 Scripts/acceptance --only crash,poison",
    )
    parser.add_argument(
        "--bootstrap",
        default=os.environ.get("KAFKA_BOOTSTRAP"),
        help="the brokers, host:port,... (default: $KAFKA_BOOTSTRAP)",
    )
    parser.add_argument("--uhan", default=".build/release/uhan", help="the binary under test")
    parser.add_argument("--model", type=pathlib.Path, help="a bundle; default: one is made")
    parser.add_argument(
        "--delivery",
        choices=["exactly_once", "at_least_once"],
        default="exactly_once",
        help="at_least_once allows (counted) duplicates",
    )
    parser.add_argument("--only", metavar="CASE,...", help=f"of: {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=20, help="kills in the crash case")
    parser.add_argument("--case-seconds", type=float, default=300, help="each case's time limit")
    parser.add_argument(
        "--seed",
        type=int,
        default=random.randrange(1 << 32),
        help="of the random moments (default: a new one, printed)",
    )
    parser.add_argument(
        "--kafka-property",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a librdkafka property for the suite and the daemon alike, as for TLS",
    )
    arguments = parser.parse_args()
    if not arguments.bootstrap:
        parser.error("set KAFKA_BOOTSTRAP to the brokers to test against, as in localhost:9092")
    arguments.only = arguments.only.split(",") if arguments.only else list(CASES)
    unknown = [name for name in arguments.only if name not in CASES]
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    return arguments


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # ends the daemons, as Ctrl-C does
    uhan = shutil.which(arguments.uhan)
    if uhan is None:
        say(f"{arguments.uhan} is not there: build it with `swift build -c release`")
        return 2
    properties = dict(item.split("=", 1) for item in arguments.kafka_property)
    cluster = Cluster(arguments.bootstrap, properties)
    try:
        cluster.check()
    except KafkaException as error:
        say(f"no answer from {arguments.bootstrap}: {error}")
        return 2
    directory = pathlib.Path(tempfile.mkdtemp(prefix="uhan-acceptance-"))
    try:
        model = arguments.model or make_model(uhan, directory / "model")
    except (subprocess.SubprocessError, OSError) as error:
        say(f"the model could not be made: {error}")
        return 2
    suite = Suite(
        cluster=cluster,
        uhan=uhan,
        model=model.resolve(),
        directory=directory,
        delivery=arguments.delivery,
        rounds=arguments.rounds,
        case_seconds=arguments.case_seconds,
        seed=arguments.seed,
        run=uuid.uuid4().hex[:8],
    )
    say(f"brokers {arguments.bootstrap}, {suite.delivery}, seed {suite.seed}, logs in {directory}")
    results = [suite.run_case(name) for name in arguments.only]
    cluster.delete_groups(suite.groups)
    counts = collections.Counter(result["result"] for result in results)
    json.dump(
        {
            "bootstrap": arguments.bootstrap,
            "delivery": suite.delivery,
            "seed": suite.seed,
            "passed": counts["PASS"],
            "failed": counts["FAIL"],
            "skipped": counts["SKIP"],
            "cases": results,
        },
        sys.stdout,
        indent=2,
    )
    print()
    if counts["FAIL"]:
        say(f"the daemons' logs are kept in {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
