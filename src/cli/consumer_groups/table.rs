//! Columns as Kafka's tools print them: each as wide as its widest cell and no narrower than its
//! least width, left-aligned, with one space between; an empty line before the heading.

use std::fmt;

/// A heading and rows.
#[derive(Debug, Clone)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

#[derive(Debug, Clone)]
struct Column {
    heading: &'static str,
    /// 0: the last column, which is not filled up.
    width: usize,
}

impl Table {
    /// A table without rows. Each column has its heading and its least width; a width of 0 is that
    /// of a column that is not filled up with spaces.
    pub(super) fn new(columns: &[(&'static str, usize)]) -> Self {
        let columns = columns.iter().map(|&(heading, width)| Column { heading, width }).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row, one cell for each column.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        for (column, cell) in self.columns.iter_mut().zip(&cells) {
            if column.width > 0 {
                column.width = column.width.max(cell.chars().count());
            }
        }
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        let headings = self.columns.iter().map(|column| column.heading.to_owned()).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let cells: Vec<String> = self
                .columns
                .iter()
                .zip(row)
                .map(|(column, cell)| format!("{cell:<width$}", width = column.width))
                .collect();
            writeln!(f, "{}", cells.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let mut table = Table::new(&[("GROUP", 6), ("TOPIC", 6), ("HOST", 0)]);
        for row in [["g", "a-long-topic", "h"], ["h", "t", ""]] {
            table.row(row.map(str::to_owned).to_vec());
        }
        assert_eq!(
            table.to_string(),
            "\nGROUP  TOPIC        HOST\n\
             g      a-long-topic h\n\
             h      t            \n"
        );
    }
}
