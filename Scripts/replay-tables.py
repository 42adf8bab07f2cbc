"""Tables of a replay on a gallery, for Scripts/replay-tables.

usage: replay-tables.py change|new GALLERY REPORT
"""

import json
import sys


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def table(buckets):
    print("| labels | posts | published | frozen | user's mean |\n|---|---|---|---|---|")
    for name, judged in buckets:
        cells = [name, str(len(judged))]
        for system in ("published", "frozen", "user_mean"):
            squares = [(line[system] - line["label"]) ** 2 for line in judged]
            cells.append(f"{sum(squares) / len(squares):.2f}" if squares else "-")
        print("| " + " | ".join(cells) + " |")


def named(low, high):
    return f"{low}" if low == high else f"{low} to {high}" if high < 1000 else f"{low} or more"


def change(gallery, facts, judged):
    changed = {user["uid"] for user in lines(f"{gallery}/users.jsonl") if user.get("later")}
    first = min(int(post["postdate"]) for post in lines(f"{gallery}/posts.jsonl"))
    moment = first // 86400 * 86400 + facts["taste_change"]["day"] * 86400
    theirs = {uid: [] for uid in changed}
    for line in judged:
        if line["uid"] in changed and line["posted_at"] >= moment:
            theirs[line["uid"]].append(line)
    # Labels of posts since the change that had come when the post was scored.
    known = [
        (sum(other["time"] < line["posted_at"] for other in lines_of), line)
        for lines_of in theirs.values()
        for line in lines_of
    ]
    before = [line for line in judged if line["uid"] in changed and line["posted_at"] < moment]
    others = [line for line in judged
              if line["uid"] not in changed and line["posted_at"] >= moment]
    buckets = [("before the change", before)]
    for low, high in [(0, 0), (1, 2), (3, 5), (6, 10), (11, 20), (21, 40), (41, 10**6)]:
        buckets.append((named(low, high), [line for count, line in known if low <= count <= high]))
    buckets.append(("users who did not change, since then", others))
    print(f"Users whose tastes change, by labels since the change "
          f"(the noise alone: {facts['oracle']['mse']:.2f}):\n")
    table(buckets)


def new(facts, judged):
    theirs = [line for line in judged if line["uid"].startswith("new-")]
    print("New users, by how many labels they had:\n")
    table([
        (named(low, high), [line for line in theirs if low <= line["user_labels"] <= high])
        for low, high in [(0, 0), (1, 1), (2, 2), (3, 4), (5, 5), (6, 9), (10, 10), (11, 19),
                          (20, 10**6)]
    ])
    print("\nThe best possible, for one who knows the law (labels, MSE, expected MSE):\n")
    for best in facts["new_users_oracle"]:
        print(f"- {best['labels']}: {best['mse']:.2f}, {best['expected_mse']:.2f}")


def main():
    kind, gallery, report = sys.argv[1:]
    with open(f"{gallery}/gallery.json", encoding="utf-8") as file:
        facts = json.load(file)
    judged = lines(f"{report}/judgements.jsonl")
    if kind == "change":
        change(gallery, facts, judged)
    else:
        new(facts, judged)


main()
