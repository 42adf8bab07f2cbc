extension ServeConfiguration {
    /// A YAML file of all settings with their defaults, each explained. Settings without a fixed
    /// default are commented out. Loading the text changes nothing.
    package static func reference() -> String {
        let heading = """
            # Configuration of uhan serve: all settings and their defaults.
            # Each is also an environment variable and a flag; a flag wins over the environment,
            # that over this file. Lists are comma-separated there.
            """
        let defaults = ServeConfiguration(hostName: "", coreCount: 1)
        return heading + "\n"
            + layout { key, indent in
                let value =
                    key.unset.map { "#\(key.name): # \($0)" }
                    ?? "\(key.name): \(key.print(defaults))"
                return [
                    "", comment(key.help, indent),
                    "\(indent)# \(key.accepts): \(key.environmentName), \(key.flag)",
                    indent + value,
                ]
                .joined(separator: "\n")
            }
    }

    /// The settings in force, as YAML; secrets are hidden.
    package var yaml: String {
        Self.layout { key, indent in "\(indent)\(key.name): \(key.print(self))" }
    }

    /// The keys in order, below a line for each section.
    fileprivate static func layout(_ line: (ConfigurationKey, _ indent: String) -> String) -> String
    {
        var text = ""
        var section = ""
        for key in keys {
            if key.section != section {
                section = key.section
                text += "\n\(section):\n"
            }
            text += line(key, section.isEmpty ? "" : "  ") + "\n"
        }
        return text
    }

    private static func comment(_ text: String, _ indent: String) -> String {
        var lines: [String] = []
        for word in text.split(separator: " ") {
            if let last = lines.last, last.count + word.count < 96 {
                lines[lines.count - 1] = "\(last) \(word)"
            } else {
                lines.append("\(indent)# \(word)")
            }
        }
        return lines.joined(separator: "\n")
    }
}

extension LoadedConfiguration {
    /// The settings in force as YAML, each with where it came from; secrets are hidden.
    package var yaml: String {
        ServeConfiguration.layout { key, indent in
            let origin =
                sources[key.path]?.joined(separator: ", then ")
                ?? key.unset.map { "default: \($0)" } ?? "default"
            return "\(indent)\(key.name): \(key.print(configuration))  # \(origin)"
        }
    }
}

extension ConfigurationKey {
    /// "kafka" of `kafka.group_id`; empty for `model`.
    fileprivate var section: String {
        path.contains(".") ? String(path.prefix { $0 != "." }) : ""
    }
    /// "group_id" of `kafka.group_id`.
    fileprivate var name: String {
        String(path.split(separator: ".").last ?? "")
    }
}
