"""The places, activities, tools and topics of each profession's bios. The profession itself is never named."""

from __future__ import annotations

from typing import NamedTuple


class Trade(NamedTuple):
    """The words of one profession."""

    places: tuple[str, ...]
    doings: tuple[str, ...]
    tools: tuple[str, ...]
    topics: tuple[str, ...]


def _trade(places: str, doings: str, tools: str, topics: str) -> Trade:
    return Trade(*(tuple(part.split(", ")) for part in (places, doings, tools, topics)))


# Keys are the class numbers of LabHC/bias_in_bios.
TRADES: dict[int, Trade] = {
    0: _trade(
        "the audit office, the revenue bureau, the budget desk, the treasury hall, the ledger room",
        "balances accounts, files returns, checks invoices, reviews expenses, prepares statements, closes the books",
        "spreadsheet, calculator, ledger, receipt, tax form, cash book, stamp, balance sheet",
        "income tax, payroll, audits, debt, costs, interest, fiscal law",
    ),
    1: _trade(
        "the design studio, the building site, the drafting room, the planning office, the model shop",
        "draws floor plans, designs houses, restores facades, plans towers, measures sites, sketches roofs",
        "blueprint, scale model, drafting table, compass, level, floor plan, ruler, tracing paper",
        "concrete, timber frames, daylight, urban form, bridges, old villas, green roofs",
    ),
    2: _trade(
        "the law firm, the district court, the bar chamber, the legal clinic, the appeals bench",
        "argues cases, drafts contracts, defends clients, settles claims, files motions, questions witnesses",
        "brief, statute book, affidavit, deposition, court record, contract, subpoena, gavel",
        "criminal law, civil rights, divorce cases, patents, fraud, custody, injury claims",
    ),
    6: _trade(
        "the dental office, the smile center, the oral clinic, the molar practice, the braces studio",
        "fills cavities, pulls teeth, aligns jaws, cleans gums, places crowns, treats root canals",
        "drill, mouth mirror, probe, crown, mold, floss, dental chair, implant",
        "molars, tooth decay, enamel, dentures, whitening, biting pain, bad breath",
    ),
    9: _trade(
        "the film set, the cutting room, the sound stage, the screening hall, the camera house",
        "directs features, edits scenes, casts actors, shoots shorts, writes scripts, frames shots",
        "camera, tripod, boom, clapper, reel, storyboard, lens, projector",
        "documentaries, slow cinema, horror, montage, festivals, dialogue, animation",
    ),
    11: _trade(
        "the news desk, the press room, the radio station, the city paper, the foreign bureau",
        "reports stories, interviews sources, covers elections, breaks scandals, writes columns, edits headlines",
        "recorder, notebook, headline, microphone, press pass, deadline, column, wire feed",
        "politics, corruption, war reporting, media ethics, local news, leaks, opinion",
    ),
    13: _trade(
        "the night ward, the care unit, the recovery room, the bedside team, the maternity floor",
        "dresses wounds, checks vitals, comforts patients, gives shots, changes drips, keeps charts",
        "thermometer, bandage, drip, chart, syringe, blanket, pulse monitor, gloves",
        "patient care, hygiene, infants, pain relief, home visits, wound healing, night shifts",
    ),
    21: _trade(
        "the faculty, the lecture hall, the graduate school, the research institute, the seminar room",
        "gives lectures, publishes papers, advises theses, chairs panels, leads seminars, wins grants",
        "monograph, journal, citation, theorem, lectern, syllabus, manuscript, grant",
        "epistemology, algebra, medieval texts, game theory, linguistics, genetics, logic",
    ),
    22: _trade(
        "the therapy room, the counseling center, the behavior lab, the mind clinic, the support group",
        "treats anxiety, listens to couples, tests memory, runs therapy, studies emotions, eases trauma",
        "questionnaire, couch, diary, inkblot, rating scale, case history, interview guide, rest cure",
        "depression, attachment, grief, phobias, cognition, stress, personality",
    ),
    25: _trade(
        "the operating theater, the trauma center, the transplant unit, the teaching hospital, the scrub room",
        "removes tumors, repairs hearts, opens chests, joins bones, transplants kidneys, stops bleeding",
        "scalpel, clamp, suture, retractor, anesthesia, scope, bone saw, scrubs",
        "heart valves, spine surgery, burns, implants, organ repair, hernias, emergency care",
    ),
    26: _trade(
        "the primary school, the classroom, the village hall, the reading corner, the play yard",
        "grades homework, explains fractions, reads stories, plans lessons, helps pupils, leads field trips",
        "blackboard, chalk, workbook, crayon, report card, lesson plan, flash card, globe",
        "spelling, reading, arithmetic, young learners, discipline, class plays, geography",
    ),
}  # fmt: skip
