"""The names of the numbers that scores are made of, in the order of their weights."""

from __future__ import annotations

PASSAGE = (
    "bm25",  # as a share of the most that the question's terms could earn
    "cosine",  # of the chunk (with title and headings) and the question
    "sentence_cosine",  # of its nearest sentence, read in the chunk
    "coverage",  # share of the question's terms, by rarity, in the chunk, its title and headings
    "sentence_coverage",  # in its best sentence
    "pairs",  # share of the question's neighbouring words that are neighbours here
    "sentence_pairs",
)

SENTENCE = (
    "passage",  # the passage's score below the best passage's
    "cosine",  # of the sentence (read in its passage) and the question
    "cosine_before",  # of the sentence before it: an answer often follows what names its subject
    "cosine_after",
    "coverage",  # share of the question's terms, by rarity, in the sentence
    "context_coverage",  # the same with the headings, the title and the sentence before
    "pairs",  # share of the question's neighbouring words that are neighbours here
    "kind_held",  # the kind of thing asked for is in it
    "kind_missing",  # a kind is asked for, and it is not in it
    "reply",  # the sentence before asks: how much of the question's terms that one covers
    "asks",  # it is itself a question
    "label",  # a heading or a label: few words and no stop
    "row",  # a row of a table
    "novelty",  # share of its own words that the question does not have
    "length",
    "first",  # it opens its passage
    "reader",  # the reader's score of it, above that of "none of them"
)

ABSTAIN = (
    "best",  # the best sentence's score
    "margin",  # its lead over the best sentence of another passage
    "passage",  # the score of its passage
    "cosine",  # its cosine with the question
    "passage_cosine",
    "top_cosine",  # the highest of any sentence
    "coverage",  # share of the question's terms, by rarity, in the quoted sentence
    "context_coverage",  # with title, headings and the sentence before
    "passage_coverage",  # in its whole passage, title and headings
    "rarest_missing",  # rarity of the rarest term that its passage lacks, as a share of the rarest term's
    "missing_names",  # share of the question's names and numbers that its passage lacks
    "unknown",  # share of the question's terms, by rarity, that no document has
    "kind_held",
    "kind_missing",
    "pairs",
    "terms",  # how much the question says
    "reader",  # the reader's score of the quoted sentence
    "top_reader",  # its highest of any sentence
)
