//! `weights.csv` and `returns.csv`. Values are written so that reading them back gives the same double.

use std::fmt::Write as _;

use crate::run::runner::Run;

/// `weights.csv`: the target weights of the out-of-sample paths, assets in the order of the data.
pub(in crate::run) fn weights_csv(run: &Run) -> String {
    let dates = run.panel.dates();
    let mut text = String::from("date,window,model,asset,weight\n");
    for (model, targets) in run.models.iter().zip(&run.targets) {
        for target in targets {
            for &column in run.panel.output_order() {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "{},{},{},{},{:?}",
                    dates[target.row],
                    target.window,
                    csv_cell(&model.name),
                    csv_cell(&run.panel.assets()[column]),
                    target.weights[column]
                );
            }
        }
    }
    text
}

/// `returns.csv`: the out-of-sample paths, one line per date.
pub(in crate::run) fn returns_csv(run: &Run) -> String {
    let dates = run.panel.dates();
    let mut text = String::from("date,window,model,gross,cost,net,turnover\n");
    for (model, path) in run.models.iter().zip(&run.paths) {
        let windows = run.stitched.rows.iter().enumerate().flat_map(|(window, rows)| rows.clone().map(move |_| window));
        // A path ends early where everything is lost.
        for (index, window) in (0..path.rows.len()).zip(windows) {
            let _ = writeln!(
                text,
                "{},{window},{},{:?},{:?},{:?},{:?}",
                dates[path.rows[index]],
                csv_cell(&model.name),
                path.gross[index],
                path.cost[index],
                path.net[index],
                path.turnover[index]
            );
        }
    }
    text
}

/// A CSV cell, quoted if it holds a separator, a quote, a line break or a space at an end. Every name that is written to
/// CSV goes through it.
pub fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r', ';', '\t']) || text.trim() != text {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::csv_cell;

    #[test]
    fn a_name_with_a_separator_is_quoted() {
        assert_eq!(csv_cell("BRK.B"), "BRK.B");
        assert_eq!(csv_cell("A, \"B\""), "\"A, \"\"B\"\"\"");
        assert_eq!(csv_cell("end "), "\"end \"");
    }
}
