//! That the checker finds each anomaly, and only where it is.
//!
//! - `story`: histories written as text
//! - `anomalies`: each anomaly, and a near miss
//! - `model`: histories of a correct cluster never fail; changed in one place they do

mod anomalies;
mod model;
mod story;
