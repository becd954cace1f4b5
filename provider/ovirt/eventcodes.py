"""What the codes of the engine's event log concern. Pure.

The numbers are those of the engine's AuditLogType, versions 4.2 to 4.5; what an event of each
names was seen on engine 4.5.8. A few numbers have changed their meaning over the years: an event
is only ever a hint.
"""

from __future__ import annotations

from enum import StrEnum


class Concern(StrEnum):
    """What an event makes worth reading.

    VM: the VM that it names, when that is selected. NEW_VM: the VM that it names, which may be
    selected now. REMOVED_VM: everything, when the VM that it names was selected. HOST: the VMs on
    the host that it names. LISTING: everything. NOTHING: nothing. UNKNOWN: the VM that it names,
    and everything in good time.
    """

    VM = "vm"
    NEW_VM = "new_vm"
    REMOVED_VM = "removed_vm"
    HOST = "host"
    LISTING = "listing"
    NOTHING = "nothing"
    UNKNOWN = "unknown"


_TABLE: tuple[tuple[Concern, str], ...] = (
    # Starts, stops and their failures; migrations; pauses; snapshots, which lock a VM's images.
    (Concern.VM, "32 33 36-40 45-47 54-71 73 74 76 77 94-103 111 112 115-117 119 120 126 128-130"),
    (
        Concern.VM,
        "138-140 142 143 145-147 150-153 157 158 161-163 166 170 171 173 179 196 221 222 250",
    ),
    (Concern.VM, "252 254 342 343 356 357 359 362 501-503 512 520 521 525 537 538 650-652 818"),
    (Concern.VM, "829 830 1001 1025 1111 2033 2039 2046 2049 9602 9603 12003 12004"),
    # Network cards.
    (Concern.VM, "930-935 1012-1015 1116 1117"),
    # Added, updated (a rename carries the old name), imported.
    (Concern.NEW_VM, "34 35 53 124 144 174 253 306 308 1152 1229"),
    (Concern.REMOVED_VM, "113 172 1130 1720"),
    # Failures, recoveries, maintenance, fencing, restarts.
    (Concern.HOST, "12-21 27 41 75 107 118 121 122 137 197 198 348 423 493-497 500 506 507"),
    (Concern.HOST, "513-519 522 530 539-541 600 602 603 607 614-616 620 840-842 888 890"),
    (Concern.HOST, "9001-9027 10452-10454"),
    # The engine started.
    (Concern.LISTING, "1"),
    # Tags, whose events name nothing but in their text.
    (Concern.LISTING, "430 432 434 440 446 555"),
    # Names that become labels: hosts, instance types (a kind of template), clusters, data centres.
    (Concern.LISTING, "42-44 49 809 811 813 835 918 950 952 954"),
    # The engine stopped; log-ins, one for each program that asks it anything; users and rights.
    (Concern.NOTHING, "2 30 31 114 149 164 165 167 168 182 310-313 316-319 325-327 346 347 360"),
    (Concern.NOTHING, "361 400-409 456-459 470-473 815 831 832 850-875 900 901 1100 1101 1401"),
    (Concern.NOTHING, "1402 4173 15000-15013"),
    # Bookmarks; tags of others, and what failed on tags; templates.
    (Concern.NOTHING, "350-355 431 433 435-439 441-445 447-455 460 467 468 556 183-186"),
    (
        Concern.NOTHING,
        "29 48 50-52 108-110 131-136 180 181 251 1154-1159 1163 1164 1166 1169 1170",
    ),
    # How full, old, worn or misconfigured hosts, disks, certificates and pools are.
    (Concern.NOTHING, "22-26 28 78-80 86-90 123 141 148 154-156 169 176-178 187-195 200-202 204"),
    (
        Concern.NOTHING,
        "370-383 498 499 504 505 509-511 523 524 526 528 531-536 550-554 557 559-567",
    ),
    (Concern.NOTHING, "601 604-606 608-613 617-619 700-702 816 833 837-839 843-849 876-887 889"),
    (Concern.NOTHING, "891-897 902-904"),
    # Networks, storage, quotas, Gluster, tasks, the data warehouse, affinity.
    (Concern.NOTHING, "925-929 936-949 1098 1099 1102-1110 1112-1115 1118-1129 1131-1149"),
    (Concern.NOTHING, "919 951 953 955-1000 1002-1011 1021 1201-1216 1300-1330 1340 1403"),
    (
        Concern.NOTHING,
        "2000-2032 2034-2038 2040-2045 2047 2050-2053 3000-3019 4000-4172 4174-4600",
    ),
    (Concern.NOTHING, "8160 8380 9000 9421-9423 9441-9444 9500-9506 9700-9704 10780"),
    (Concern.NOTHING, "10900-10930 11141-11144 11291 11292"),
)


def _codes(text: str) -> frozenset[int]:
    spans = (span.partition("-") for span in text.split())
    return frozenset(
        code for first, _, last in spans for code in range(int(first), int(last or first) + 1)
    )


_CONCERNS = {code: concern for concern, text in _TABLE for code in _codes(text)}


def concern_of(code: int) -> Concern:
    """What an event with this code concerns."""
    return _CONCERNS.get(code, Concern.UNKNOWN)
