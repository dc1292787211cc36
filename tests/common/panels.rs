//! Panels and random numbers that are the same everywhere.

use std::path::Path;

use jiff::ToSpan;
use jiff::civil::{Date, Weekday, date};
use walkforge::{Panel, PanelKind};

/// A linear congruential generator (Knuth's MMIX).
pub(crate) struct Noise(pub u64);

impl Noise {
    /// The next state, of which the high bits are random.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0
    }
}

/// The weekdays from a date on.
pub(crate) fn weekdays(first: Date) -> impl Iterator<Item = Date> {
    let days = (0_i32..).map(move |day| first.saturating_add(i64::from(day).days()));
    days.filter(|day| !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday))
}

/// The weekdays from 2018 until before a date.
pub(crate) fn weekdays_before(end: Date) -> Vec<Date> {
    weekdays(date(2018, 1, 1)).take_while(|day| *day < end).collect()
}

/// A, B, C and so on.
pub(crate) fn letters(count: usize) -> Vec<String> {
    (0..count).map(|asset| char::from(b'A' + asset as u8).to_string()).collect()
}

/// Random walks from a price of 100, `[dates, assets]`, that grow by the factor `growth` a day; later assets are more
/// volatile.
pub(crate) fn random_walks(seed: u64, growth: f64, dates: usize, assets: usize) -> Vec<f64> {
    let mut noise = Noise(seed);
    let mut prices = vec![100.0; assets];
    let mut values = Vec::with_capacity(dates * assets);
    for _ in 0..dates {
        for (asset, price) in prices.iter_mut().enumerate() {
            let draw = (noise.next() >> 40) as f64 / f64::from(1 << 24) - 0.5;
            *price *= growth + draw * 0.02 * (asset + 1) as f64 / 3.0;
            values.push(*price);
        }
    }
    values
}

/// Returns of five assets on the weekdays of three years, without any structure that a model could use.
pub(crate) fn five_assets() -> Panel {
    let days = weekdays_before(date(2020, 12, 31));
    let values: Vec<f64> = (0..days.len() * 5).map(|cell| ((cell * 7919) % 1000) as f64 * 1e-5 - 0.005).collect();
    Panel::from_arrays(PanelKind::Returns, days, &letters(5), &values).unwrap()
}

/// The daily prices of 20 stocks.
pub(crate) fn stocks() -> Panel {
    Panel::from_csv(PanelKind::Prices, Path::new(&super::prices())).unwrap()
}
