"""A customer's tasks as Terraform, with the providers ``azurerm`` (4.42 or later) and ``azuread``."""

from __future__ import annotations

import json
from string import Template

from sqlalchemy_cmk.providers.azure.commands import HSM_ROLE, HSM_ROLE_ID, OWNERS_ROLE, ROLE, Commands

_BEGIN = """\
terraform {
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.42"
    }
    azuread = {
      source = "hashicorp/azuread"
    }
  }
}

# Leave this out where you have it already.
provider "azurerm" {
  features {}
}

variable "resource_group" {
  type = string
}

variable "workspace_id" {
  type        = string
  description = "The resource id of a workspace of Log Analytics"
}
"""

_PRINCIPAL = Template("""
resource "azuread_service_principal" "application" {
  client_id    = $application
  use_existing = true
}
""")

_KNOWN_PRINCIPAL = Template("""
data "azuread_service_principal" "application" {
  client_id = $application
}
""")

_VAULT = Template("""
data "azurerm_client_config" "current" {}

data "azurerm_resource_group" "keys" {
  name = var.resource_group
}

# For a vault that you have already: data "azurerm_key_vault" "vault", and its id below.
resource "azurerm_key_vault" "vault" {
  name                       = $vault
  resource_group_name        = data.azurerm_resource_group.keys.name
  location                   = data.azurerm_resource_group.keys.location
  tenant_id                  = data.azurerm_client_config.current.tenant_id
  sku_name                   = "premium"
  rbac_authorization_enabled = true
  soft_delete_retention_days = 90
  purge_protection_enabled   = true
}

resource "azurerm_role_assignment" "may_make_keys" {
  scope                = azurerm_key_vault.vault.id
  role_definition_name = "$owners_role"
  principal_id         = data.azurerm_client_config.current.object_id
}

resource "azurerm_key_vault_key" "kek" {
  depends_on   = [azurerm_role_assignment.may_make_keys]
  name         = $key
  key_vault_id = azurerm_key_vault.vault.id
  key_type     = "$kty"
  key_size     = $bits
  key_opts     = ["unwrapKey", "wrapKey"]
$tags}

# On this key alone
resource "azurerm_role_assignment" "may_use" {
  scope                = azurerm_key_vault_key.kek.resource_versionless_id
  role_definition_name = "$role"
  principal_id         = $principal
  principal_type       = "ServicePrincipal"
}
$log
output "kek_uri" {
  value = azurerm_key_vault_key.kek.versionless_id
}""")

_HSM = Template("""
# Purge protection: $protect
data "azurerm_key_vault_managed_hardware_security_module" "vault" {
  name                = $vault
  resource_group_name = var.resource_group
}

resource "azurerm_key_vault_managed_hardware_security_module_key" "kek" {
  name           = $key
  managed_hsm_id = data.azurerm_key_vault_managed_hardware_security_module.vault.id
  key_type       = "$kty"
  key_size       = $bits
  key_opts       = ["unwrapKey", "wrapKey"]
$tags}

# $role, on this key alone
resource "azurerm_key_vault_managed_hardware_security_module_role_assignment" "may_use" {
  name               = uuidv5("url", azurerm_key_vault_managed_hardware_security_module_key.kek.id)
  managed_hsm_id     = data.azurerm_key_vault_managed_hardware_security_module.vault.id
  scope              = "/keys/$plain_key"
  role_definition_id = "/Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/$hsm_role_id"
  principal_id       = $principal
}
$log
output "kek_uri" {
  value = azurerm_key_vault_managed_hardware_security_module_key.kek.id
}""")

_LOG = Template("""
resource "azurerm_monitor_diagnostic_setting" "log" {
  name                           = "cmk-audit"
  target_resource_id             = $id
  log_analytics_workspace_id     = var.workspace_id
  log_analytics_destination_type = "Dedicated"

  enabled_log {
    category = "AuditEvent"
  }
}
""")


def as_terraform(commands: Commands) -> str:
    """Return a customer's tasks as a Terraform file."""
    principal, vault = "azuread_service_principal.application", "azurerm_key_vault.vault"
    if not commands.request.other_directory:
        principal = f"data.{principal}"
    if commands.managed_hsm:
        vault = "data.azurerm_key_vault_managed_hardware_security_module.vault"
    template = _HSM if commands.managed_hsm else _VAULT
    who = _PRINCIPAL if commands.request.other_directory else _KNOWN_PRINCIPAL
    return (
        _BEGIN
        + who.substitute(application=_text(commands.application))
        + template.substitute(
            vault=_text(commands.vault),
            key=_text(commands.name),
            plain_key=commands.name,
            kty=commands.kty,
            bits=commands.bits,
            tags=_tags(commands),
            role=HSM_ROLE if commands.managed_hsm else ROLE,
            hsm_role_id=HSM_ROLE_ID,
            owners_role=OWNERS_ROLE,
            principal=f"{principal}.object_id",
            protect=commands.protect(),
            log=_LOG.substitute(id=f"{vault}.id"),
        )
    )


def _tags(commands: Commands) -> str:
    if not commands.tags:
        return ""
    lines = "".join(f"    {_text(name)} = {_text(value)}\n" for name, value in commands.tags.items())
    return f"\n  tags = {{\n{lines}  }}\n"


def _text(text: str) -> str:
    # developer.hashicorp.com/terraform/language/expressions/strings: JSON's escapes, and ${ and %{ doubled.
    return json.dumps(text).replace("${", "$${").replace("%{", "%%{")
