"""A customer's tasks as Bicep, Azure's own language of templates.

Types: learn.microsoft.com/azure/templates/microsoft.keyvault. What a Managed HSM has outside of Azure's
management plane, its roles, stays a command of az.
"""

from __future__ import annotations

from string import Template

from sqlalchemy_cmk.providers.azure.commands import HSM_ROLE, ROLE, ROLE_ID, Commands

_VAULT = Template("""\
// Deploy it with: az deployment group create --resource-group RESOURCE_GROUP --template-file cmk.bicep
@description('The object id of the application in this directory: $show')
param applicationObjectId string

@description('The resource id of a workspace of Log Analytics')
param workspaceId string

param location string = resourceGroup().location

// For a vault that you have already, write "existing =" here, and its name alone.
resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: '$vault'
  location: location
  properties: {
    tenantId: subscription().tenantId
    sku: {
      family: 'A'
      name: 'premium'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
  }
}

resource kek 'Microsoft.KeyVault/vaults/keys@2023-07-01' = {
  parent: vault
  name: '$key'
$tags  properties: {
    kty: '$kty'
    keySize: $bits
    keyOps: [
      'wrapKey'
      'unwrapKey'
    ]
  }
}

// $role, on this key alone
resource mayUse 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(kek.id, applicationObjectId, '$role_id')
  scope: kek
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '$role_id')
    principalId: applicationObjectId
    principalType: 'ServicePrincipal'
  }
}
$log

output kekUri string = '$${vault.properties.vaultUri}keys/$${kek.name}'""")

_HSM = Template("""\
// Deploy it with: az deployment group create --resource-group RESOURCE_GROUP --template-file cmk.bicep
// Roles of a Managed HSM ($role) are not resources of Azure. Run then:
//   $assign
// Purge protection: $protect
@description('The resource id of a workspace of Log Analytics')
param workspaceId string

resource vault 'Microsoft.KeyVault/managedHSMs@2023-07-01' existing = {
  name: '$vault'
}

resource kek 'Microsoft.KeyVault/managedHSMs/keys@2023-07-01' = {
  parent: vault
  name: '$key'
$tags  properties: {
    kty: '$kty'
    keySize: $bits
    keyOps: [
      'wrapKey'
      'unwrapKey'
    ]
  }
}
$log""")

_LOG = """
resource log 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'cmk-audit'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [
      {
        category: 'AuditEvent'
        enabled: true
      }
    ]
  }
}"""


def as_bicep(commands: Commands) -> str:
    """Return a customer's tasks as a Bicep file."""
    template = _HSM if commands.managed_hsm else _VAULT
    return template.substitute(
        vault=commands.vault,
        key=commands.name,
        kty=commands.kty,
        bits=commands.bits,
        tags=_tags(commands.tags),
        show=f"az ad sp show --id {commands.application} --query id",
        role=HSM_ROLE if commands.managed_hsm else ROLE,
        role_id=ROLE_ID,
        assign=commands.assign_role(),
        protect=commands.protect(),
        log=_LOG,
    )


def _tags(tags: dict[str, str]) -> str:
    if not tags:
        return ""
    lines = "".join(f"    {_text(name)}: {_text(value)}\n" for name, value in tags.items())
    return f"  tags: {{\n{lines}  }}\n"


def _text(text: str) -> str:
    # learn.microsoft.com/azure/azure-resource-manager/bicep/data-types: what a backslash begins, and ${.
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\${") + "'"
