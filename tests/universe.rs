//! A universe of 400 members that join, leave, halt and are delisted, with simulated prices: generated intervals, and
//! the real membership of an index if its file is available. The results of a run are recomputed in Python from prices,
//! membership and weights alone, and the look-ahead audit passes.
//!
//! The real file is the one of `WALKFORGE_MEMBERSHIP`, else it is in `../shared/data` beside the repository. With
//! `WALKFORGE_LONG=1` the run covers seven years instead of half a year.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use jiff::ToSpan;
use jiff::civil::{Date, Weekday, date};

use crate::common::process::{command, run, stderr, stdout, walkforge};
use crate::common::root;

struct Draws(u64);

impl Draws {
    /// Uniform in [0, 1) (splitmix64).
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.unit() * limit as f64) as usize
    }

    /// Nearly normal, variance 1: the sum of twelve uniforms.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

type Intervals = BTreeMap<String, Vec<(Date, Date)>>;

/// The real membership and its file.
fn real() -> Option<(Intervals, PathBuf)> {
    let named = std::env::var_os("WALKFORGE_MEMBERSHIP").map(PathBuf::from);
    let path = named.unwrap_or_else(|| root().join("../shared/data/sp400_membership.csv"));
    let text = std::fs::read_to_string(&path).ok()?;
    let mut out = Intervals::new();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        out.entry(cells[0].to_owned()).or_default().push((cells[1].parse().unwrap(), cells[2].parse().unwrap()));
    }
    Some((out, path))
}

/// 724 tickers, of which 400 at a time are members from 2014 to 2024; some rejoin, some stay for a day.
fn generated() -> Intervals {
    let mut draws = Draws(400);
    let mut out = Intervals::new();
    let (mut inside, mut outside): (Vec<usize>, Vec<usize>) = ((0..400).collect(), (400..724).collect());
    let mut since = vec![date(2014, 1, 2); 724];
    let name = |ticker: usize| format!("T{ticker:03}");
    let end = date(2024, 12, 31);
    let mut day = date(2014, 1, 10);
    while day < end {
        // The ticker that has waited longest joins, so that every one joins at some time.
        let (leaver, joiner) = (draws.below(inside.len()), outside.remove(0));
        out.entry(name(inside[leaver])).or_default().push((since[inside[leaver]], day));
        outside.push(std::mem::replace(&mut inside[leaver], joiner));
        since[joiner] = day.checked_add(1.day()).unwrap();
        if draws.below(20) == 0 {
            let visitor = outside[draws.below(outside.len())];
            out.entry(name(visitor)).or_default().push((day, day));
        }
        day = day.checked_add((1 + draws.below(20) as i64).days()).unwrap();
    }
    for ticker in inside {
        out.entry(name(ticker)).or_default().push((since[ticker], end));
    }
    out
}

/// Simulated prices, `[dates, assets]`, NaN if missing: a market factor, five sector factors and noise.
struct Market {
    days: Vec<Date>,
    names: Vec<String>,
    prices: Vec<Vec<f64>>,
}

impl Market {
    fn new(intervals: &Intervals, first: Date, last: Date, decisions: &[Date]) -> Self {
        let mut draws = Draws(2014);
        let mut days = vec![first];
        while let Some(next) = days.last().and_then(|day| day.checked_add(1.day()).ok()).filter(|day| *day <= last) {
            days.push(next);
        }
        days.retain(|day| !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday));
        // A few tickers of the file have no prices, a few columns are never members, and columns are not sorted by
        // name.
        let mut names: Vec<String> =
            intervals.keys().enumerate().filter(|(at, _)| at % 97 != 5).map(|(_, name)| name.clone()).collect();
        names.extend((0..10).map(|index| format!("EXTRA{index}")));
        for index in (1..names.len()).rev() {
            names.swap(index, draws.below(index + 1));
        }
        let factors: Vec<[f64; 6]> = days.iter().map(|_| std::array::from_fn(|_| draws.normal() * 0.006)).collect();
        let mut prices = vec![vec![f64::NAN; names.len()]; days.len()];
        for (column, _) in names.iter().enumerate() {
            let (beta, sector, noise) = (0.5 + draws.unit(), 1 + draws.below(5), 0.005 + 0.02 * draws.unit());
            let mut price = 10.0 + 90.0 * draws.unit();
            for (row, factor) in factors.iter().enumerate() {
                price *= (beta * factor[0] + factor[sector] + noise * draws.normal()).exp();
                prices[row][column] = price;
            }
        }
        let mut out = Self { days, names, prices };
        out.remove_prices(intervals, decisions, &mut draws);
        out
    }

    /// Removes prices: halts, late listings, delistings inside and at the end of intervals, on the row of a decision
    /// and on the first row that is held.
    fn remove_prices(&mut self, intervals: &Intervals, decisions: &[Date], draws: &mut Draws) {
        let rows = self.days.len();
        for column in 0..self.names.len() {
            let own = intervals.get(&self.names[column]).cloned().unwrap_or_default();
            if let Some((_, end)) = own.last().filter(|(_, end)| *end < self.days[rows - 1]) {
                let end = self.days.partition_point(|day| day <= end);
                match draws.below(3) {
                    0 => self.remove(column, end.saturating_sub(draws.below(20))..rows),
                    1 => self.remove(column, end..rows),
                    _ => (),
                }
            }
            if draws.below(25) == 0 {
                self.remove(column, 0..draws.below(rows / 2));
            }
            // Few per year, because by default correlations use the rows in which every member has a return.
            if draws.below(25 * 260 / rows.min(260)) == 0 {
                for _ in 0..rows.div_ceil(520) {
                    let (at, most) = (draws.below(rows), [30, 2][draws.below(2)]);
                    let length = 1 + draws.below(most);
                    self.remove(column, at..(at + length).min(rows));
                }
            }
        }
        let through = |column: &usize| {
            let own = intervals.get(&self.names[*column]).map(Vec::as_slice).unwrap_or_default();
            own.iter().any(|(first, last)| *first < self.days[0] && *last >= self.days[rows - 1])
        };
        let stayers: Vec<usize> = (0..self.names.len()).filter(through).take(3 * decisions.len()).collect();
        assert!(stayers.len() == 3 * decisions.len(), "too few members stay");
        for (index, day) in decisions.iter().enumerate() {
            let row = self.days.partition_point(|known| known <= day) - 1;
            self.remove(stayers[3 * index], row..row + 1);
            self.remove(stayers[3 * index + 1], row + 1..row + 9);
            if index == 0 {
                self.remove(stayers[2], row + 1..rows);
            }
        }
    }

    fn remove(&mut self, column: usize, rows: std::ops::Range<usize>) {
        for row in rows {
            self.prices[row][column] = f64::NAN;
        }
    }

    fn write(&self, path: &Path) {
        let mut text = format!("date,{}\n", self.names.join(","));
        for (day, prices) in self.days.iter().zip(&self.prices) {
            write!(text, "{day}").unwrap();
            for price in prices {
                if price.is_nan() { text.push(',') } else { write!(text, ",{price:.5}").unwrap() }
            }
            text.push('\n');
        }
        std::fs::write(path, text).unwrap();
    }
}

#[test]
fn runs_with_a_generated_membership_are_recomputed_in_python() {
    recomputed("generated intervals", &generated(), 370..=402);
}

#[test]
fn runs_with_the_membership_of_a_real_index_are_recomputed_in_python() {
    match real() {
        // The file has the members that joined since 2014: 276 of the 400 in the spring of 2024.
        Some((intervals, path)) => recomputed(&format!("the intervals of {}", path.display()), &intervals, 200..=300),
        None => println!("no file with a real membership; another test uses a generated one"),
    }
}

fn recomputed(source: &str, intervals: &Intervals, members: RangeInclusive<usize>) {
    let long = std::env::var_os("WALKFORGE_LONG").is_some();
    let count: usize = intervals.values().map(Vec::len).sum();
    println!("{source}: {} tickers, {count} intervals", intervals.len());
    let (first, months) = if long { (date(2016, 1, 4), 12) } else { (date(2023, 1, 2), 2) };
    let last = date(2024, 7, 31);
    let decisions = [date(2024, 2, 29), date(2024, 4, 30)];
    let least = if long { 0 } else { *members.start() };
    let market = Market::new(intervals, first, last, &decisions);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    market.write(Path::new(&at("prices.csv")));
    let mut text = String::from("ticker,start,end,index_name\n");
    for (ticker, (start, end)) in intervals.iter().flat_map(|(name, list)| list.iter().map(move |span| (name, span))) {
        writeln!(text, "{ticker},{start},{end},X").unwrap();
    }
    std::fs::write(at("members.csv"), text).unwrap();
    let sorted: BTreeSet<&String> = market.names.iter().collect();
    let third = |rest: usize| -> Vec<&&String> {
        sorted.iter().enumerate().filter(|(index, _)| index % 3 == rest).map(|(_, name)| name).collect()
    };
    let windows = format!(
        "[windows]\ntrain_months = 12\nvalidation_months = 1\ntest_months = {months}\nstep_months = {months}\n"
    );
    let data = "[data]\nprices = \"prices.csv\"\nmembership = \"members.csv\"\n";
    let hrp = "[[models]]\nname = \"hrp\"\n[models.settings]\nlookback = 252\nmin_history = 20\n";
    let pairwise = "[[models]]\nname = \"pairwise\"\nplugin = \"hrp\"\n[models.settings]\nlookback = 252\nmissing = \"pairwise\"\n";
    let bounds = format!(
        "[portfolio]\ntop_k = 40\nmin_weight = 0.005\nmax_weight = 0.06\nmax_turnover = 0.1\n[portfolio.groups.one]\n\
         assets = {:?}\nmin = 0.05\nmax = 0.35\n[portfolio.groups.two]\nassets = {:?}\nmin = 0.1\nmax = 0.4\n",
        third(0),
        third(1)
    );
    let late = "stale_rows = 5\n";
    let lag = "[portfolio]\nexecution_lag = 1\n";
    let experiments = [
        ("plain", format!("{data}{windows}{hrp}{pairwise}")),
        ("bounds", format!("{data}{windows}{bounds}{hrp}")),
        ("late", format!("{data}{late}{windows}{lag}{hrp}")),
    ];
    for (name, text) in &experiments {
        std::fs::write(at(&format!("{name}.toml")), text).unwrap();
        let (file, out) = (at(&format!("{name}.toml")), at(name));
        let started = std::time::Instant::now();
        let messages = stderr(&run(&mut walkforge(&["run", &file, "--out", &out])));
        assert!(
            messages.contains("of the membership's assets have no column in the data and are never held"),
            "{messages}"
        );
        println!("{name}: {:?}", started.elapsed());
        let mut script = command("python3");
        script.args(["tests/universe.py", &out, &at("prices.csv"), &at("members.csv")]);
        script.args([least, *members.end()].map(|bound| bound.to_string()));
        println!("{}", stdout(&run(&mut script)));
        let report = std::fs::read_to_string(folder.path().join(name).join("report.html")).unwrap();
        assert!(report.contains(&format!("of {} assets in {count} intervals", intervals.len())));
    }
    let started = std::time::Instant::now();
    let messages = stderr(&run(&mut walkforge(&["audit", &at("late.toml"), "--dates", "2"])));
    assert!(messages.contains("no look-ahead: "), "{messages}");
    println!("audit: {:?}, {}", started.elapsed(), messages.lines().last().unwrap());
}

#[test]
fn generated_intervals_have_the_shape_of_the_real_ones() {
    let intervals = generated();
    assert!(intervals.values().any(|list| list.len() > 1));
    assert!(intervals.values().flatten().any(|(first, last)| first == last));
    for day in [date(2014, 1, 2), date(2017, 6, 30), date(2020, 3, 31), date(2024, 12, 31)] {
        let members =
            intervals.values().filter(|list| list.iter().any(|(first, last)| (*first..=*last).contains(&day))).count();
        assert!((399..=402).contains(&members), "{members} on {day}");
    }
    assert_eq!(intervals.len(), 724);
}
