import ArgumentParser
import Daemon

struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config",
        abstract: "Check the daemon's settings, and show them.",
        discussion: """
            Both read what 'uhan serve' would: --config, the environment, flags.

              uhan config show --defaults > uhan.yaml
              uhan config check --config uhan.yaml
              uhan config show --config uhan.yaml
            """,
        subcommands: [ConfigCheck.self, ConfigShow.self])
}

struct ConfigCheck: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Whether the daemon would start with these settings.",
        discussion: """
            Prints ok, or all that is wrong; the exit code is 1 then. Looks at the settings, and at \
            what they name on this machine: the model bundle, folders, librdkafka's properties. \
            Connects to nothing and changes nothing.
            """)

    @OptionGroup var daemon: DaemonSettings

    func run() throws {
        let configuration = try daemon.loadConfiguration()
        try configuration.checkMachine { try openModel(configuration.model) }
        print("ok")
    }
}

struct ConfigShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "The settings in force, and where each came from.",
        discussion: """
            YAML, which may be used as a file of settings where no secret is hidden in it: \
            passwords and the like are shown as \(Secret.hidden).
            """)

    @Flag(help: "All settings with their meaning and defaults instead: a file to begin with.")
    var defaults = false

    @OptionGroup var daemon: DaemonSettings

    func validate() throws {
        guard !defaults || (daemon.config == nil && daemon.settings.isEmpty) else {
            throw ValidationError("--defaults takes no settings")
        }
    }

    func run() throws {
        print(
            defaults ? ServeConfiguration.reference() : try daemon.loadWithSources().yaml,
            terminator: "")
    }
}
