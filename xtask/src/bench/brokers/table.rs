//! A table whose columns are the case's own.

use std::fmt;

use crate::bench::measure::median;

/// A figure of a table.
#[derive(Clone, Copy)]
pub(in crate::bench) struct Column {
    /// With its unit.
    pub(in crate::bench) heading: &'static str,
    /// After the point.
    pub(in crate::bench) digits: usize,
}

/// What one round gave: a figure for each column, or nothing.
pub(in crate::bench) type Figures = Vec<Option<f64>>;

/// The figures of each server, in as many rounds as there were.
pub(in crate::bench) struct Table {
    title: &'static str,
    columns: &'static [Column],
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    rounds: Vec<Figures>,
    /// Why there are fewer rounds than there should be.
    failure: Option<String>,
}

impl Table {
    pub(in crate::bench) fn new(title: &'static str, columns: &'static [Column]) -> Self {
        Self { title, columns, rows: Vec::new() }
    }

    /// Adds a round, or why there is none.
    pub(in crate::bench) fn add(&mut self, name: &'static str, round: anyhow::Result<Figures>) {
        let at = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            self.rows.push(Row { name, rounds: Vec::new(), failure: None });
            self.rows.len() - 1
        });
        match round {
            Ok(figures) => self.rows[at].rounds.push(figures),
            Err(error) => self.rows[at].failure = Some(format!("{error:#}")),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        let headings: Vec<_> = self.columns.iter().map(|column| column.heading).collect();
        writeln!(f, "| | {} |", headings.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(headings.len()))?;
        for row in &self.rows {
            write!(f, "| {} |", row.name)?;
            for (index, &Column { digits, .. }) in self.columns.iter().enumerate() {
                match row.median(index) {
                    Some(median) => write!(f, " {median:.digits$} |")?,
                    None => write!(f, " – |")?,
                }
            }
            writeln!(f)?;
        }
        for (name, failure) in
            self.rows.iter().filter_map(|row| Some((row.name, row.failure.as_ref()?)))
        {
            writeln!(f, "\n{name} failed: {failure}.")?;
        }
        Ok(())
    }
}

impl Row {
    /// Of one column.
    fn median(&self, column: usize) -> Option<f64> {
        median(self.rounds.iter().filter_map(|round| round[column]).collect())
    }
}
