//! Returns of calendar years and months as heat maps.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::chart::swatch;
use super::heat_map::HeatMap;
use super::{ModelValues, ReportValues, benchmark_last, escape};
use crate::evaluate::{MetricValue, Unit};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// With fewer rows per year than this most months have no return of their own.
const MONTHLY: f64 = 11.0;

/// Years by models, then years by months per model.
pub(super) fn calendar(values: &ReportValues) -> String {
    let mut years: Vec<i16> =
        values.models.iter().flat_map(|model| &model.calendar.years).map(|(year, _)| *year).collect();
    years.sort_unstable();
    years.dedup();
    let rows = years.iter().map(|year| {
        let cells = benchmark_last(&values.models).map(|(_, model)| of_year(model, *year)).collect();
        (year.to_string(), cells)
    });
    let columns =
        benchmark_last(&values.models).map(|(index, model)| format!("{} {}", swatch(index), escape(&model.name)));
    let map =
        HeatMap { corner: "Year", columns: columns.collect(), rows: rows.collect(), unit: Unit::Percent, decimals: 1 };
    let mut out = format!(
        "<section><h2>Calendar</h2><p>Net returns in percent, compounded over the rows that were held in a year or month; \
         the first and the last may be partly held.</p>\n{}",
        map.html("", "")
    );
    if values.periods_per_year >= MONTHLY {
        for (index, model) in benchmark_last(&values.models) {
            let _ = writeln!(
                out,
                "<details><summary><h3>{} {}, month by month</h3></summary><div class=\"scroll\">{}</div></details>",
                swatch(index),
                escape(&model.name),
                months(model)
            );
        }
    }
    out + "</section>\n"
}

fn of_year(model: &ModelValues, year: i16) -> Option<MetricValue> {
    let found = model.calendar.years.iter().find(|(of, _)| *of == year);
    found.map(|(_, earned)| MetricValue::Number(*earned))
}

/// The months of a model, one row per year.
fn months(model: &ModelValues) -> String {
    let mut rows: BTreeMap<i16, Vec<Option<MetricValue>>> = BTreeMap::new();
    for (year, month, earned) in &model.calendar.months {
        let cells = rows.entry(*year).or_insert_with(|| vec![None; MONTHS.len()]);
        if let Some(cell) = cells.get_mut(usize::from(month.unsigned_abs()) - 1) {
            *cell = Some(MetricValue::Number(*earned));
        }
    }
    let map = HeatMap {
        corner: "Year",
        columns: MONTHS.map(str::to_owned).to_vec(),
        rows: rows.into_iter().map(|(year, cells)| (year.to_string(), cells)).collect(),
        unit: Unit::Percent,
        decimals: 1,
    };
    map.html("months", "")
}

#[cfg(test)]
mod tests {
    use super::super::page::tests::{model, values};
    use super::calendar;
    use crate::evaluate::CalendarReturns;
    use crate::report::ModelValues;

    #[test]
    fn years_and_months_have_a_cell_each_and_what_was_not_held_is_empty() {
        let returns = |years: &[(i16, f64)], months: &[(i16, i8, f64)]| CalendarReturns {
            years: years.to_vec(),
            months: months.to_vec(),
        };
        let benchmark = returns(&[(2019, 0.5), (2021, -0.25)], &[(2019, 12, 0.5), (2021, 2, -0.25)]);
        let other = returns(&[(2019, 0.25)], &[(2019, 12, 0.25)]);
        let mut values = values(vec![
            ModelValues { calendar: benchmark, ..model("equal_weight") },
            ModelValues { calendar: other, ..model("m") },
        ]);
        let html = calendar(&values);
        let row = |text: &str| assert!(html.contains(text), "{text}: {html}");
        row("<th scope=\"row\">2019</th><td class=\"up4\">25.0</td><td class=\"up4\">50.0</td></tr>");
        row("<th scope=\"row\">2021</th><td></td><td class=\"down4\">−25.0</td></tr>");
        row(&format!("<th scope=\"row\">2019</th>{}<td class=\"up4\">50.0</td></tr>", "<td></td>".repeat(11)));
        row(&format!(
            "<th scope=\"row\">2021</th><td></td><td class=\"down4\">−25.0</td>{}</tr>",
            "<td></td>".repeat(10)
        ));
        assert_eq!(html.matches("month by month").count(), 2);
        values.periods_per_year = 4.0;
        assert!(!calendar(&values).contains("month by month"));
    }
}
