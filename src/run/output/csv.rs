//! `weights.csv` and `returns.csv`. Numbers are written so that reading them back gives the same double.

use std::fmt::Write as _;

use crate::run::runner::Run;

/// The targets of the out-of-sample paths, assets in the order of the data.
pub(in crate::run) fn weights(run: &Run) -> String {
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
                    model.name,
                    quoted(&run.panel.assets()[column]),
                    target.weights[column]
                );
            }
        }
    }
    text
}

/// The out-of-sample paths, a line a day.
pub(in crate::run) fn returns(run: &Run) -> String {
    let dates = run.panel.dates();
    let mut text = String::from("date,window,model,gross,cost,net,turnover\n");
    for (model, path) in run.models.iter().zip(&run.paths) {
        let windows = run.stitched.iter().enumerate().flat_map(|(window, rows)| rows.clone().map(move |_| window));
        for (place, window) in windows.enumerate() {
            let _ = writeln!(
                text,
                "{},{window},{},{:?},{:?},{:?},{:?}",
                dates[path.rows[place]],
                model.name,
                path.gross[place],
                path.cost[place],
                path.net[place],
                path.turnover[place]
            );
        }
    }
    text
}

/// A CSV cell, in quotes where it needs them.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_name_that_would_break_a_line_is_quoted() {
        assert_eq!(quoted("BRK.B"), "BRK.B");
        assert_eq!(quoted("A, \"B\""), "\"A, \"\"B\"\"\"");
    }
}
