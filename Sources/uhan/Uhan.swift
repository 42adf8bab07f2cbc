import ArgumentParser

@main
struct Uhan: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "uhan",
        abstract: "Says how popular a social image post will be, the moment it is posted.",
        discussion: """
            A score is log2(views a day) + 1: 1 is one view a day, 11 about a thousand. It comes \
            with the attention that explains it: which words, which of the picture's 14 x 14 \
            regions, and how much of each.

            Look at it run, with nothing set up:
              uhan quickstart

            Score a file of posts:
              uhan model init --seed 1 --output model
              uhan score --model model --posts posts.jsonl > scores.jsonl

            Score posts from Kafka:
              uhan serve --config uhan.yaml

            Train a model (on posts that are made up, where you have none):
              uhan gallery --posts 20000 --output gallery
              uhan prepare --posts gallery/posts.jsonl --output data
              uhan features --data data --backbone small --output features
              uhan train --data data --features features --output models

            Results go to stdout as JSON, one object a line; everything for people to stderr.
            """,
        version: "0.1.0",
        subcommands: [
            QuickstartCommand.self, Serve.self, Score.self, ModelCommand.self,
            GalleryCommand.self, PrepareCommand.self, FeaturesCommand.self, TrainCommand.self,
            EvaluateCommand.self, ReplayCommand.self,
            ExplainCommand.self,
            UsersCommand.self, DeadLettersCommand.self, ConfigCommand.self, Bench.self,
        ])
}
