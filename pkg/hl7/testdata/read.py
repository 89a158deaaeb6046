"""Reads HL7 messages with hl7apy (strict: structure, cardinality, data types of 2.5.1) and with python-hl7, independently of each other.

Standard input: a JSON list of messages, base64. Output: for each {"errors": [...], "segments": [[name, field, ...], ...]} where a field is
repetitions of components of subcomponents, unescaped by a reader of its own.
"""

import base64
import json
import re
import sys

import hl7
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

DELIMITERS = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\"}


def unescape(text):
    def put(match):
        body = match.group(1)
        if body in DELIMITERS:
            return DELIMITERS[body]
        if body.startswith("X"):
            return bytes.fromhex(body[1:]).decode()
        raise ValueError(f"unknown escape {body!r}")

    return re.sub(r"\\([^\\]*)\\", put, text)


def as_hl7apy(text, errors):
    try:
        message = parse_message(text, validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)
        message.validate()
        order = message.oru_r01_patient_result.oru_r01_order_observation
        return len(order.oru_r01_observation)
    except Exception as problem:  # noqa: BLE001 (whatever it is, the message is at fault)
        errors.append(f"hl7apy: {type(problem).__name__}: {problem}")
        return 0


def as_python_hl7(text):
    segments = []
    for segment in hl7.parse(text):
        fields = [str(segment[0])]
        for number in range(1, len(segment)):
            field = segment[number]
            if fields[0] == "MSH" and number <= 2:
                fields.append([[[str(field)]]])
                continue
            fields.append(
                [
                    [[unescape(part) for part in component.split("&")] for component in repetition.split("^")]
                    for repetition in str(field).split("~")
                ]
            )
        segments.append(fields)
    return segments


def check_value(segment, errors):
    """OBX-5 against the type in OBX-2 (table 0125), which hl7apy does not look at."""
    kind, value, status = segment[2][0][0][0], segment[5], segment[11][0][0][0]
    text = value[0][0][0]
    if kind not in ("NM", "ST", "CWE", "ED"):
        errors.append(f"data type {kind}")
    if kind == "NM" and not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", text) and not (status == "X" and text == ""):
        errors.append(f"{text!r} is no NM of status {status}")
    if kind == "CWE" and len(value[0]) != 3:
        errors.append(f"{value!r} is no coded value")


answers = []
for raw in json.load(sys.stdin):
    text = base64.b64decode(raw).decode()
    errors = []
    observations = as_hl7apy(text, errors)
    segments = []
    try:
        segments = as_python_hl7(text)
    except Exception as problem:  # noqa: BLE001
        errors.append(f"python-hl7: {type(problem).__name__}: {problem}")
    for segment in segments:
        if segment[0] == "OBX":
            check_value(segment, errors)
    if observations != sum(1 for s in segments if s[0] == "OBX"):
        errors.append(f"hl7apy sees {observations} observations")
    answers.append({"errors": errors, "segments": segments})
json.dump(answers, sys.stdout)
