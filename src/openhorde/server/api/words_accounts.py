# SPDX-License-Identifier: AGPL-3.0-or-later
"""What refusals about users, workers, teams and kudos say; read by `words.py`."""

UNKNOWN_KEY = "No user matching sent API Key. Check the header apikey, or register to get a key."
_TAKEN = "The name[ {name}] is taken. Choose another."
_PROFANE = "contains words that are not allowed here. Choose others."
_FEWER_WORKERS = (
    "Start this one under the name of a worker that has stopped, delete one"
    " (DELETE /api/v2/workers/ID), or ask the operator of this horde to allow more ("
)

ACCOUNT_WORDS: dict[str, tuple[int, str]] = {
    # Who is calling.
    "InvalidAPIKey": (401, UNKNOWN_KEY),
    "AnonForbidden": (403, "The anonymous account may not do this. Register to get a key."),
    "AnonForbiddenWorker": (
        403,
        "Workers cannot run under the anonymous account. Register to get a key.",
    ),
    "AnonForbiddenUserMod": (403, "The anonymous account cannot be changed."),
    "AnonForbiddenUser": (403, "The anonymous account may not do this. Register to get a key."),
    "BetaAnonForbidden": (403, "The anonymous account may not use this model."),
    "StylesAnonForbidden": (403, "The anonymous account may not make styles."),
    "NotAdmin": (403, "Only administrators may do this."),
    "NotModerator": (403, "Only moderators may do this."),
    "NotOwner": (403, "Only its owner may do this[ to {name}]."),
    "NotPrivileged": (403, "Your account may not do this."),
    "NotAllowedAwards": (
        403,
        "Only administrators may award kudos: the accounts that the operator of this horde names"
        " in OPENHORDE_ADMINS.",
    ),
    "NotTrusted": (403, "Only trusted accounts may do this."),
    "NotUserOrMod": (403, "Only the user and moderators may do this."),
    "UntrustedTeamCreation": (403, "Only trusted accounts may found teams."),
    "UntrustedUnsafeIP": (403, "Only trusted accounts may call from a proxy or VPN."),
    "StylesRequiresCustomizer": (403, "Making styles asks for the role customizer."),
    "NonServiceForbidden": (403, "Only service accounts may do this."),
    "CannotDeleteMod": (403, "A moderator's account cannot be deleted."),
    "CannotWipeActiveUser": (403, "An account can be wiped 30 days after it was last used."),
    "MessagesOnlyOwnWorkers": (403, "You may only write to your own workers."),
    "DeletedUser": (403, "This account is marked as deleted. Undelete it to go on."),
    "SpecialModelNeedsSpecialUser": (403, "This model is for special accounts."),
    "SpecialForbidden": (403, "This special model belongs to somebody else."),
    "OnlyServiceAccountProxy": (400, "proxied_account is for service accounts only."),
    "RequiresTrust": (400, "[{field}: ]only trusted accounts may ask for this."),
    "InvalidPriorityUsername": (
        400,
        "priority_usernames: {given} is no account. Write NAME#ID.",
    ),
    # Users.
    "UserNotFound": (404, "No user has the ID[ {id}]."),
    "UserNotDeleted": (400, "The account is not marked as deleted."),
    "NoUserModSelected": (400, "Nothing to change was sent. Name at least one field of the user."),
    "TooLongUserName": (
        400,
        "username is too long[: {given} characters where at most {maximum} fit].",
    ),
    "ProfaneUserName": (400, f"username {_PROFANE}"),
    "ProfaneUserContact": (400, f"contact {_PROFANE}"),
    "ProfaneAdminComment": (400, f"admin_comment {_PROFANE}"),
    # Workers.
    "WorkerNotFound": (404, "No worker has the name or ID[ {id}]."),
    "NoWorkerModSelected": (
        400,
        "Nothing to change was sent. Name at least one of maintenance, maintenance_msg, paused,"
        " info, name.",
    ),
    "TooLongWorkerName": (
        400,
        "name is too long[: {given} characters where at most {maximum} fit].",
    ),
    "WorkerNameAlreadyExists": (400, _TAKEN),
    "NameAlreadyExists": (400, _TAKEN),
    "PolymorphicNameConflict": (
        400,
        "The name[ {name}] belongs to a worker of another kind. Choose another.",
    ),
    "ProfaneWorkerName": (400, f"name {_PROFANE}"),
    "ProfaneBridgeAgent": (400, f"bridge_agent {_PROFANE}"),
    "ProfaneWorkerInfo": (400, f"info {_PROFANE}"),
    "WrongCredentials": (
        403,
        "wrong credentials: the worker[ {name}] belongs to another account. Send its owner's API"
        " key or choose another name.",
    ),
    "WorkerMaintenance": (403, "This worker is in maintenance mode[: {message}]."),
    "WorkerFlaggedMaintenance": (
        403,
        "This worker is in maintenance mode: your account was flagged. Contact the moderators.",
    ),
    "WorkerInviteOnly": (
        403,
        "This horde is invite-only: new workers need an invitation by a moderator.",
    ),
    "TooManySameIPs": (
        403,
        "Too many workers run at your address[: {given} of this kind were online within a day, and"
        f" at most {{maximum}} may]. {_FEWER_WORKERS}OPENHORDE_WORKERS_PER_ADDRESS).",
    ),
    "TooManyWorkers": (
        403,
        "You have too many workers[: {given} of this kind were online within a day, and at most"
        f" {{maximum}} are allowed]. {_FEWER_WORKERS}OPENHORDE_WORKERS_PER_OWNER).",
    ),
    "TooManyWorkersTrusted": (
        403,
        "You have too many workers[: {given} of this kind were online within a day, and at most"
        f" {{maximum}} are allowed]. {_FEWER_WORKERS}OPENHORDE_WORKERS_PER_TRUSTED_OWNER).",
    ),
    "WorkermessageNotFound": (404, "No message has the ID[ {id}]."),
    # Teams.
    "TeamNotFound": (404, "No team has the ID[ {id}]."),
    "TeamNameAlreadyExists": (400, _TAKEN),
    "NoTeamModSelected": (400, "Nothing to change was sent. Name at least one field of the team."),
    "ProfaneTeamName": (400, f"name {_PROFANE}"),
    "ProfaneTeamInfo": (400, f"info {_PROFANE}"),
    # Kudos.
    "KudosUpfront": (
        403,
        "This is heavy for the present load[ ({reasons})] and must be payable in advance[: it costs"
        " {required_kudos} kudos and {available_kudos} are available]. Ask for less[ (up to"
        " {limit_side_pixels}x{limit_side_pixels} pixels)][ (up to {limit_steps} steps)][ (up to"
        " {limit_length} tokens)], allow slow_workers or downgrades, or earn kudos with a worker.",
    ),
    "KudosValidationError": (400, "The kudos cannot be moved[: {reason}]."),
    "InvalidTargetUsername": (400, "username[ {name}] is no account. Write NAME#ID."),
    "KudosTransferToAnon": (400, "Kudos cannot be sent to the anonymous account."),
    "KudosTransferToSelf": (400, "Kudos cannot be sent to oneself."),
    "KudosTransferFromAnon": (400, "The anonymous account cannot send kudos."),
    "KudosTransferNotEnough": (
        400,
        "Not enough kudos[: {amount} asked, {available} available].",
    ),
    "NegativeKudosTransfer": (400, "amount must be above 0."),
    "InvalidKudosTransferAmount": (400, "amount must be a whole number above 0."),
    "TooFastKudosTransfers": (400, "Kudos were sent a moment ago. Wait a little."),
    "SourceAccountFlagged": (400, "Your account was flagged and cannot send kudos."),
    "TargetAccountFlagged": (400, "The receiving account was flagged and cannot get kudos."),
    "FaultWhenKudosSending": (400, "Your account cannot send kudos now."),
    "FaultWhenKudosReceiving": (400, "The receiving account cannot get kudos now."),
    "EducationCannotSendKudos": (400, "Education accounts cannot send kudos."),
    "IdempotencyKeyConflict": (400, "Idempotency-Key was used for another transfer."),
    "InvalidAwardUsername": (400, "username[ {name}] is no account. Write NAME#ID."),
    "KudosAwardToAnon": (400, "Kudos cannot be awarded to the anonymous account."),
    # Shared keys.
    "SharedKeyInvalid": (400, "This shared key is not valid here."),
    "NoSharedKeyModSelected": (400, "Nothing to change was sent. Name at least one field of it."),
    "SharedKeyEmpty": (403, "This shared key has no kudos left."),
    "SharedKeyExpired": (403, "This shared key has expired."),
    "SharedKeyInsufficientKudos": (403, "This shared key has too few kudos left for this."),
    "SharedKeyAssignedStyles": (403, "This shared key may only be used through its styles."),
}
