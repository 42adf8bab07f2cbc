/// The candidate that `name` was probably meant to be: the same last word in another section, else
/// the fewest changed, swapped, missing or extra letters (at most a third of the name).
func nearest(to name: String, among candidates: [String]) -> String? {
    let lastWord = name.split(separator: ".").last
    let sameLastWord = candidates.filter { $0.split(separator: ".").last == lastWord }
    if sameLastWord.count == 1 { return sameLastWord[0] }

    let closest = candidates.map { (candidate: $0, distance: editDistance(name, $0)) }
        .min { $0.distance < $1.distance }
    guard let closest, closest.distance <= max(2, name.count / 3) else { return nil }
    return closest.candidate
}

/// Changes of one letter, and swaps of two neighbours, that turn one text into the other (optimal
/// string alignment).
private func editDistance(_ first: String, _ second: String) -> Int {
    let first = Array(first)
    let second = Array(second)
    var rows = [[Int]](
        repeating: [Int](repeating: 0, count: second.count + 1), count: first.count + 1)
    for row in 0...first.count { rows[row][0] = row }
    for column in 0...second.count { rows[0][column] = column }
    guard !first.isEmpty, !second.isEmpty else { return max(first.count, second.count) }
    for row in 1...first.count {
        for column in 1...second.count {
            let isSame = first[row - 1] == second[column - 1]
            rows[row][column] = min(
                rows[row - 1][column] + 1, rows[row][column - 1] + 1,
                rows[row - 1][column - 1] + (isSame ? 0 : 1))
            if row > 1, column > 1, first[row - 1] == second[column - 2],
                first[row - 2] == second[column - 1]
            {
                rows[row][column] = min(rows[row][column], rows[row - 2][column - 2] + 1)
            }
        }
    }
    return rows[first.count][second.count]
}
