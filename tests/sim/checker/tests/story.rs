//! Histories as text, one operation a line:
//!
//! ```text
//! p1 send 7 -> 3                 value 7 was acknowledged at offset 3, by all in-sync replicas
//! p1 send 8 acks=1 key=2 -> ok   more words: acks=0 idempotent tx=1 log=1 tombstone
//! p1 send 9 -> unknown           or failed
//! c1 poll 0: 3=7 4=8             from offset 0: two records; `poll-committed`, log=1
//! c1 assign 0 1                  logs; `subscribe` for a group's rebalance
//! c1 seek 5
//! p1 commit 1 -> ok              or failed, unknown; `abort`
//! a1 create orders -> done       or nothing, failed, unknown; `delete`
//! a1 list: orders payments       `list-lagging` where a broker answers for itself
//! final 0: 3=7                   what is there in the end from offset 0 on; log=1
//! compacted                      `may-lose`
//! ```
//!
//! Each takes five milliseconds and is followed by the next five later, or takes the time that
//! `[from..to]` before it says.

use std::time::Duration;

use ottla::types::{Offset, ProducerId};

use crate::checker::history::{
    Acks, Action, FinalRead, History, Key, Log, Operation, Outcome, Polled, Process, Send,
    TopicAnswer, TransactionId, Value,
};

/// Reads a history.
pub fn story(text: &str) -> History {
    let mut history = History::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let number = 10 * history.operations.len() as u64;
        let (times, line) = match line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((times, line)) => (times.split_once("..").expect("from..to"), line),
            None => (("", ""), line),
        };
        let moment = |text: &str, otherwise| {
            Duration::from_millis(if text.is_empty() { otherwise } else { text.parse().unwrap() })
        };
        let (invoked, completed) = (moment(times.0, number), moment(times.1, number + 5));
        let words = Line::parse(line);
        match words.plain[0] {
            "final" => {
                let start = Offset(words.plain[1].parse().unwrap());
                let read = FinalRead { start, records: words.records() };
                history.final_reads.insert(words.log(), read);
            }
            "compacted" => history.concessions.entry(words.log()).or_default().compacted = true,
            "may-lose" => history.concessions.entry(words.log()).or_default().may_lose = true,
            process => {
                let process = Process(process.bytes().fold(0, |sum, b| sum * 256 + u32::from(b)));
                let action = words.action();
                history.operations.push(Operation { process, invoked, completed, action });
            }
        }
    }
    history
}

/// A line's parts: plain words, `name=value` before the colon, what follows it, and the answer.
struct Line<'a> {
    plain: Vec<&'a str>,
    options: Vec<(&'a str, &'a str)>,
    list: Vec<&'a str>,
    answer: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Line<'a> {
        let (line, answer) = line.split_once("->").unwrap_or((line, ""));
        let (head, list) = line.split_once(':').unwrap_or((line, ""));
        let (options, plain): (Vec<_>, Vec<_>) =
            head.split_whitespace().partition(|word| word.contains('='));
        let options = options.into_iter().filter_map(|word| word.split_once('=')).collect();
        Line { plain, options, list: list.split_whitespace().collect(), answer: answer.trim() }
    }

    fn option(&self, name: &str) -> Option<u64> {
        let found = self.options.iter().find(|(option, _)| *option == name);
        found.map(|(_, value)| value.parse().unwrap())
    }

    fn has(&self, word: &str) -> bool {
        self.plain.contains(&word)
    }

    fn log(&self) -> Log {
        log(self.option("log").unwrap_or(0))
    }

    fn number(&self, place: usize) -> u64 {
        self.plain[place].parse().unwrap()
    }

    fn records(&self) -> Vec<(Offset, Value)> {
        let pairs = self.list.iter().map(|pair| pair.split_once('=').expect("offset=value"));
        pairs.map(|(o, v)| (Offset(o.parse().unwrap()), Value(v.parse().unwrap()))).collect()
    }

    fn outcome<T>(&self, acknowledged: impl FnOnce(&str) -> T) -> Outcome<T> {
        match self.answer {
            "failed" => Outcome::Failed,
            "unknown" => Outcome::Unknown,
            answer => Outcome::Acknowledged(acknowledged(answer)),
        }
    }

    fn topic_answer(&self) -> Outcome<TopicAnswer> {
        self.outcome(|answer| match answer {
            "done" => TopicAnswer::Done,
            "nothing" => TopicAnswer::NothingToDo,
            other => panic!("'{other}' is no answer"),
        })
    }

    fn action(&self) -> Action {
        match self.plain[1] {
            "send" => Action::Send(self.send()),
            poll @ ("poll" | "poll-committed") => Action::Poll {
                committed: poll == "poll-committed",
                outcome: self.outcome(|_| {
                    let from = Offset(self.number(2) as i64);
                    vec![Polled { log: self.log(), from, records: self.records() }]
                }),
            },
            assign @ ("assign" | "subscribe") => Action::Assign {
                logs: self.plain[2..].iter().map(|word| log(word.parse().unwrap())).collect(),
                subscribed: assign == "subscribe",
            },
            "seek" => Action::Seek { log: self.log(), to: Offset(self.number(2) as i64) },
            end @ ("commit" | "abort") => Action::EndTransaction {
                transaction: TransactionId(self.number(2)),
                commit: end == "commit",
                outcome: self.outcome(|_| ()),
            },
            "create" => {
                Action::CreateTopic { name: self.plain[2].to_owned(), outcome: self.topic_answer() }
            }
            "delete" => {
                Action::DeleteTopic { name: self.plain[2].to_owned(), outcome: self.topic_answer() }
            }
            list @ ("list" | "list-lagging") => Action::ListTopics {
                current: list == "list",
                outcome: self.outcome(|_| self.list.iter().map(|name| (*name).into()).collect()),
            },
            other => panic!("'{other}' is no operation"),
        }
    }

    fn send(&self) -> Send {
        Send {
            log: self.log(),
            value: Value(self.number(2)),
            key: self.option("key").map(Key),
            tombstone: self.has("tombstone"),
            acks: match self.option("acks") {
                None => Acks::All,
                Some(1) => Acks::One,
                Some(_) => Acks::Zero,
            },
            producer: self.has("idempotent").then_some(ProducerId(1)),
            transaction: self.option("tx").map(TransactionId),
            outcome: self.outcome(|answer| {
                (answer != "ok").then(|| Offset(answer.parse().expect("an offset")))
            }),
        }
    }
}

fn log(number: u64) -> Log {
    Log { topic: 0, partition: number as i32 }
}
