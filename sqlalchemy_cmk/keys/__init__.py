"""The keyring: DEKs, the key tables that store them wrapped, and what happens to them over their life."""

from sqlalchemy_cmk.keys.approvals.approvals import Approvals
from sqlalchemy_cmk.keys.approvals.request import Request, RequestState
from sqlalchemy_cmk.keys.audit.chain import AuditEntry
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.audit.heads import Heads
from sqlalchemy_cmk.keys.audit.trail import AuditTrail
from sqlalchemy_cmk.keys.audit.verification import AuditVerdict
from sqlalchemy_cmk.keys.dry_run import Refusal
from sqlalchemy_cmk.keys.events.deliveries import Deliveries, SendReport
from sqlalchemy_cmk.keys.events.key_event import KeyEvent, KeyEventKind
from sqlalchemy_cmk.keys.events.outbox import Delivery
from sqlalchemy_cmk.keys.events.signatures import verify_webhook
from sqlalchemy_cmk.keys.events.webhooks import Webhook
from sqlalchemy_cmk.keys.kek_uses import KekUse
from sqlalchemy_cmk.keys.keyring import Keyring
from sqlalchemy_cmk.keys.lifecycle.assigning import AssignReport
from sqlalchemy_cmk.keys.lifecycle.dropping import DropReport
from sqlalchemy_cmk.keys.lifecycle.lifecycle import Lifecycle
from sqlalchemy_cmk.keys.lifecycle.record_keys import RecordKeyLifecycle
from sqlalchemy_cmk.keys.lifecycle.rewrapping import RewrapReport
from sqlalchemy_cmk.keys.loading import load_keyring
from sqlalchemy_cmk.keys.model import DekState, Purpose, TenantKek, TenantState, TenantStatus
from sqlalchemy_cmk.keys.onboarding import Onboarding, OnboardingReport
from sqlalchemy_cmk.keys.policy import KekPolicy

__all__ = [
    "Approvals",
    "AssignReport",
    "AuditEntry",
    "AuditTrail",
    "AuditVerdict",
    "DekState",
    "Deliveries",
    "Delivery",
    "DropReport",
    "EventKind",
    "Heads",
    "KekPolicy",
    "KekUse",
    "KeyEvent",
    "KeyEventKind",
    "Keyring",
    "Lifecycle",
    "Onboarding",
    "OnboardingReport",
    "Purpose",
    "RecordKeyLifecycle",
    "Refusal",
    "Request",
    "RequestState",
    "RewrapReport",
    "SendReport",
    "TenantKek",
    "TenantState",
    "TenantStatus",
    "Webhook",
    "load_keyring",
    "verify_webhook",
]
