//! Panels from Parquet files as pandas and others write them, and files that are refused.

use walkforge::{Code, Panel, PanelKind};

use crate::common::root;

fn read(name: &str) -> walkforge::Result<Panel> {
    Panel::from_file(PanelKind::Prices, &root().join(format!("tests/golden/{name}.parquet")))
}

#[test]
fn a_parquet_file_gives_the_panel_of_the_same_csv_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("panel.csv");
    std::fs::write(&path, "date,B,A\n2020-01-02,1,10\n2020-01-03,2,11.5\n2020-01-06,,12.25\n2020-01-07,4,13\n")
        .unwrap();
    let csv = Panel::from_file(PanelKind::Prices, &path).unwrap();
    for name in [
        "panel_pandas",
        "panel_groups",
        "panel_text",
        "panel_zone",
        "panel_zone_arrow",
        "panel_offset",
        "panel_filtered",
        "panel_gzip",
        "panel_brotli",
        "panel_lz4",
        "panel_int96",
        "panel_unsigned",
        "panel_half",
    ] {
        let panel = read(name).unwrap();
        assert_eq!(panel.fingerprint(), csv.fingerprint(), "{name}");
        assert_eq!((panel.dates(), panel.output_order()), (csv.dates(), csv.output_order()), "{name}");
    }
}

#[test]
fn returns_of_single_precision_are_constant_within_its_rounding() {
    // Column A of this file is stored in single precision, B in integers.
    let past = read("panel_groups").unwrap().past(0..2, &[1, 0]).unwrap();
    assert_eq!(past.constant_within(), [1e-12, 5e-7]);
    assert_eq!(past.of_assets(&[1]).constant_within(), [5e-7]);
    assert_eq!(read("panel_pandas").unwrap().past(0..2, &[0, 1]).unwrap().constant_within(), [1e-12; 2]);
}

#[test]
fn a_column_of_type_null_is_an_asset_without_a_value() {
    let panel = read("panel_null").unwrap();
    assert_eq!(panel.assets(), ["A", "B", "C"]);
    assert!((0..4).all(|row| panel.has_value(row) == [true, row != 2, false]));
}

#[test]
fn a_parquet_file_is_known_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(root().join("tests/golden/panel_pandas.parquet")).unwrap();
    for name in ["prices", "prices.PARQUET", "prices.csv"] {
        std::fs::write(folder.path().join(name), &whole).unwrap();
        let panel = Panel::from_file(PanelKind::Prices, &folder.path().join(name)).unwrap();
        assert_eq!(panel.fingerprint(), read("panel_pandas").unwrap().fingerprint(), "{name}");
    }
}

#[test]
fn a_file_of_another_kind_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prices.csv");
    let starts: [(&[u8], &str); 4] = [
        (b"PK\x03\x04", "an Excel workbook"),
        (b"ARROW1\0\0", "an Arrow file"),
        (b"\xff\xfeD\0", "text in UTF-16; save it as UTF-8"),
        (b"\x1f\x8b\x08", "the file is gzipped and cannot be unpacked"),
    ];
    for (bytes, expected) in starts {
        std::fs::write(&path, bytes).unwrap();
        let message = Panel::from_file(PanelKind::Prices, &path).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let text = "date,A\n2020-01-02,1\n2020-01-03,2\n";
    std::fs::write(&path, text).unwrap();
    let plain = Panel::from_file(PanelKind::Prices, &path).unwrap();
    let mut gzip = std::process::Command::new("gzip").arg(&path).spawn().unwrap();
    assert!(gzip.wait().unwrap().success());
    let packed = Panel::from_file(PanelKind::Prices, &path.with_extension("csv.gz")).unwrap();
    assert_eq!(packed.fingerprint(), plain.fingerprint());
}

#[test]
fn files_that_are_not_panels_are_refused_with_their_name() {
    for (name, expected) in [
        ("panel_undated", "the file has no date column"),
        ("panel_flags", "column A is of type BOOLEAN; allowed are numeric types"),
        ("panel_nested", "the file has nested columns"),
        ("panel_closes", "row 1, column date: found 2020-01-02 16:00, a time of day without a time zone"),
        ("panel_instants", "row 1, column date: found 2020-01-01 15:00, a time of day without a time zone"),
    ] {
        let error = read(name).unwrap_err();
        assert_eq!(error.code(), Code::InvalidData);
        assert!(error.to_string().contains(expected) && error.to_string().contains(name), "{error}");
    }
    assert_eq!(read("nowhere").unwrap_err().code(), Code::NotFound);
}

#[test]
fn a_damaged_file_is_an_error_at_every_length_and_with_every_byte_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.parquet");
    let whole = std::fs::read(root().join("tests/golden/panel_groups.parquet")).unwrap();
    let (mut refused, mut read) = (0, 0);
    let mut attempt = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        match Panel::from_file(PanelKind::Prices, &path) {
            Ok(_) => read += 1,
            Err(error) => {
                assert_eq!(error.code(), Code::InvalidData, "{error}");
                refused += 1;
            }
        }
    };
    for length in 0..whole.len() {
        attempt(&whole[..length]);
    }
    for index in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[index] ^= 0x55;
        attempt(&bytes);
    }
    // A file with a changed price or name is still a panel: these Parquet pages have no checksums.
    println!("{refused} damaged files refused, {read} read as other panels");
    assert!(refused > whole.len());
}
