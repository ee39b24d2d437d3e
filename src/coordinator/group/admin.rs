//! Listing, describing and deleting groups.

use crate::coordinator::group::command::{Asked, ListFilter};
use crate::coordinator::group::draft::Draft;
use crate::protocol::Str;

/// ListGroups.
pub(super) fn list(_: &mut Draft<'_>, _: Asked<ListFilter>) {}

/// DescribeGroups.
pub(super) fn describe(_: &mut Draft<'_>, _: Asked<Vec<Str>>) {}

/// DeleteGroups.
pub(super) fn delete(_: &mut Draft<'_>, _: Asked<Vec<Str>>) {}
