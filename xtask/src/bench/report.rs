//! The tables: medians, and their ratios to the limit.

use std::fmt;

use anyhow::Error;

use super::cases::{Case, Kind};
use super::measure::{Column, Sample, median};

/// All samples of one case.
pub(super) struct Table {
    case: &'static Case,
    rows: Vec<Row>,
}

/// What one server gave.
struct Row {
    server: &'static str,
    samples: Vec<Sample>,
    /// Why there are fewer samples than rounds.
    failures: Vec<String>,
}

impl Table {
    pub(super) fn new(case: &'static Case) -> Self {
        Self { case, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, server: &'static str, measured: Result<Sample, Error>) {
        let number = self.rows.iter().position(|row| row.server == server);
        let number = number.unwrap_or_else(|| {
            self.rows.push(Row { server, samples: Vec::new(), failures: Vec::new() });
            self.rows.len() - 1
        });
        match measured {
            Ok(sample) => self.rows[number].samples.push(sample),
            Err(error) => self.rows[number].failures.push(format!("{error:#}")),
        }
    }

    /// The columns of which anything is known.
    fn columns(&self) -> Vec<&'static Column> {
        let is_known = |column: &&Column| self.rows.iter().any(|row| row.median(column).is_some());
        self.case.kind.columns().iter().filter(is_known).collect()
    }

    /// What servers are compared by, relative to the limit, or else to the first.
    fn ratio(&self, row: &Row) -> Option<f64> {
        let column = &self.case.kind.columns()[0];
        Some(row.median(column)? / self.rows.first()?.median(column)?)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.case.title)?;
        if let Some(goal) = self.case.goal {
            writeln!(f, "To be reached by sockeye: {goal}.\n")?;
        }
        let columns = self.columns();
        let has_ratio = self.case.kind == Kind::Speed;
        let mut headings: Vec<&str> = columns.iter().map(|column| column.heading).collect();
        if has_ratio {
            headings.insert(1.min(headings.len()), "ratio");
        }
        writeln!(f, "| server | {} |", headings.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(headings.len()))?;
        for row in &self.rows {
            let mut cells: Vec<String> =
                columns.iter().map(|column| cell(row.median(column), column.digits)).collect();
            if has_ratio {
                cells.insert(1.min(cells.len()), cell(self.ratio(row), 2));
            }
            writeln!(f, "| {} | {} |", row.server, cells.join(" | "))?;
        }
        self.rows.iter().try_for_each(|row| row.write_failures(f))
    }
}

impl Row {
    /// The median, if there are samples and they have this figure.
    fn median(&self, column: &Column) -> Option<f64> {
        median(self.samples.iter().filter_map(|sample| column.of(sample)).collect())
    }

    fn write_failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(last) = self.failures.last() else { return Ok(()) };
        let (failed, all) = (self.failures.len(), self.failures.len() + self.samples.len());
        writeln!(f, "\n{} failed in {failed} of {all} rounds: {last}.", self.server)
    }
}

/// A figure, or a dash where there is none.
fn cell(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.digits$}"))
}
